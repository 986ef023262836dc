# featx on a CPU:
#   docker build -t featx .
#   docker run --rm --network none -v "$PWD:/work" featx demo --offline
# docs/installation.md says more.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ENV PIP_CONSTRAINT=/source/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY . .
RUN pip wheel --quiet --no-deps --wheel-dir /wheels . \
    && python -m venv --without-pip /opt/featx \
    && pip --python /opt/featx/bin/python install --quiet /wheels/*.whl \
    && rm -r /opt/featx/lib/python*/site-packages/tensorflow/include

FROM python:${PYTHON}-slim
COPY --from=build /opt/featx /opt/featx
# Any user may run it: `--user "$(id -u):$(id -g)"` makes files that are yours.
RUN install --directory --mode 1777 /home/featx /weights /work
ENV PATH=/opt/featx/bin:$PATH \
    HOME=/home/featx \
    FEATX_WEIGHTS_DIR=/weights \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
WORKDIR /work
VOLUME ["/weights", "/work"]
ENTRYPOINT ["featx"]
CMD ["--help"]
