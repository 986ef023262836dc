"""Hospitals of phantoms: how ill their patients are, and how their machine makes films."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True, slots=True)
class Hospital:
    """How ill a hospital's patients are, and how its machine makes films.

    Two hospitals may have equal patients and differ in the look of their films: in sharpness,
    contrast and exposure. Heads that are fitted on the films of one then have a wrong threshold for
    those of the other.

    Attributes
    ----------
    first_patient
        Number of the first patient. Two hospitals of a seed have no patient in common if their
        numbers differ.
    films
        Smallest and largest number of films of a patient.
    opacities
        Smallest and largest number of opacities in the lungs of a sick patient.
    density
        Smallest and largest share of the air that gives way in an opacity.
    blur
        Standard deviation of the blur of its films, as a share of their side. 0 is sharp.
    contrast
        Factor of the differences from middle grey.
    gamma
        Power to which brightness, from 0 to 1, is raised. Below 1 dark lungs become brighter.

    Examples
    --------
    >>> Hospital(gamma=0.8).gamma
    0.8
    """

    first_patient: int = 1
    films: tuple[int, int] = (1, 3)
    opacities: tuple[int, int] = (1, 3)
    density: tuple[float, float] = (0.6, 1.0)
    blur: float = 0.0
    contrast: float = 1.0
    gamma: float = 1.0

    def display(self, film: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return brightness from 0 to 1 as the machine shows it."""
        if self.blur:
            film = ndimage.gaussian_filter(film, self.blur * len(film))
        if (self.contrast, self.gamma) != (1.0, 1.0):
            film = (0.5 + self.contrast * (film**self.gamma - 0.5)).clip(0, 1)
        return film


USUAL = Hospital()
"""Hospital of the phantoms that are drawn if none is named."""

HOME = Hospital(opacities=(6, 9), density=(0.9, 1.0))
"""Hospital of the demo. Its patients are iller than usual, so that few films are enough."""

NEXT_DOOR = replace(HOME, first_patient=5001, films=(1, 1), blur=0.018, contrast=0.9, gamma=0.7)
"""The demo's next hospital: softer films of equally ill patients, a little flatter and brighter."""
