# The service's image: `docker build -t ebbtide .`, or `docker compose up --build` with its servers.

FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# What the service needs, exactly as locked; only wheels, so that nothing is compiled here.
COPY requirements/run.lock requirements/
RUN python -m venv --without-pip /opt/ebbtide \
    && pip --python /opt/ebbtide install --require-hashes --only-binary :all: -r requirements/run.lock

# What builds the project stays out of the service's environment.
COPY requirements/build.lock requirements/
RUN pip install --require-hashes --only-binary :all: -r requirements/build.lock

COPY pyproject.toml README.md LICENSE ./
COPY consumer consumer
COPY schemas schemas
COPY model_export model_export
RUN pip wheel --no-build-isolation --no-deps --wheel-dir dist . \
    && pip --python /opt/ebbtide install --no-index --no-deps dist/*.whl


FROM python:3.12-slim
COPY --from=build /opt/ebbtide /opt/ebbtide
ENV PATH=/opt/ebbtide/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes' runAsNonRoot can tell that it is not root.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f\"http://127.0.0.1:{os.environ.get('EBBTIDE_HTTP_PORT', 8000)}/healthz\", timeout=4)"]
ENTRYPOINT ["ebbtide"]
CMD ["run"]
