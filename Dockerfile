# Radalign in a container: for GPUs (the default, which works without one too) or, smaller, for CPUs alone.
#   docker build --tag radalign .
#   docker build --tag radalign:cpu --build-arg VARIANT=cpu --build-arg TORCH_INDEX=ADDRESS .
# ADDRESS is the one that PyTorch's page of installation names for CPUs. docs/guides/operate.md says how to run it.
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
ARG VARIANT=cuda
ARG TORCH_INDEX=
WORKDIR /opt/radalign
RUN python -m venv .venv
COPY requirements.lock ./
# Exactly the locked set. For CPUs, torch is of the same version but another build, which needs no library of CUDA.
RUN case "$VARIANT" in \
      cuda) cp requirements.lock rest.lock ;; \
      cpu) grep -E '^(torch|torchvision)==' requirements.lock > torch.lock; \
           grep -vE '^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==' requirements.lock > rest.lock; \
           if [ -z "$TORCH_INDEX" ]; then echo "VARIANT=cpu needs TORCH_INDEX: see the top of Dockerfile." >&2; exit 1; fi; \
           .venv/bin/python -m pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" --requirement torch.lock ;; \
      *) echo "VARIANT is cuda or cpu, not $VARIANT." >&2; exit 1 ;; \
    esac
RUN .venv/bin/python -m pip install --no-cache-dir --no-deps --requirement rest.lock
COPY . .
RUN .venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation --editable .

FROM python:${PYTHON_VERSION}-slim
RUN useradd --uid 1000 --create-home radalign && install --directory --owner=radalign /home/radalign/var
COPY --from=build /opt/radalign /opt/radalign
# Dagster's own folder, which its user may write to; the history of runs lies in the home.
COPY --from=build --chown=radalign /opt/radalign/dagster.yaml /home/radalign/dagster/
ENV PATH=/opt/radalign/.venv/bin:$PATH \
    VIRTUAL_ENV=/opt/radalign/.venv \
    DAGSTER_HOME=/home/radalign/dagster \
    DAGSTER_CLI_JOB_EXECUTE_MODULE_NAME=pipelines.definitions \
    RADALIGN_HOME=/home/radalign/var
USER radalign
WORKDIR /home/radalign
VOLUME /home/radalign/var
CMD ["radalign", "--help"]
