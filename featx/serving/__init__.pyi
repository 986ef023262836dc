from ._serve import Service as Service
from ._serve import serve as serve
