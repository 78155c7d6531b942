# syntax=docker/dockerfile:1
# One image for web, workers and beat; docker-compose.yml says which part a container plays.
FROM python:3.11-slim-bookworm AS build
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
RUN /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes --no-deps -r /tmp/requirements.txt

FROM python:3.11-slim-bookworm
# Debian removes a version when it mends it, so a pinned one would soon be no longer there. Debian's own
# pg_dump is older than the server of docker-compose.yml; postgresql-common has the script that adds a newer.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends bubblewrap ca-certificates git \
    openssh-client postgresql-common \
 && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
 && apt-get install --yes --no-install-recommends postgresql-client-18 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 autopack \
 && useradd --uid 10001 --gid autopack --create-home --shell /usr/sbin/nologin autopack \
 && install --directory --owner=autopack --group=autopack --mode=0700 \
    /var/lib/autopack /var/lib/autopack/state /var/lib/autopack/runs
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY manage.py ./
COPY autopack_site ./autopack_site
COPY strategy ./strategy
COPY runs ./runs
COPY issues ./issues
COPY integration ./integration
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AUTOPACK_PRODUCTION=1 \
    AUTOPACK_BIND=0.0.0.0:8790 \
    AUTOPACK_STATE_DIR=/var/lib/autopack/state \
    AUTOPACK_RUNS_DIR=/var/lib/autopack/runs
USER 10001:10001
EXPOSE 8790
# The guard ends with the container's program whatever that program left running.
ENTRYPOINT ["/opt/venv/bin/python", "-I", "-S", "/app/autopack_site/guard.py"]
CMD ["python", "manage.py", "doctor"]
