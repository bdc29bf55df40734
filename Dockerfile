# SPOQ Plus backup on Airflow's own image: client and server programs of both vendors, and what the backups stand on.
#
#   docker build -t spoqplus-backup .
#
# Everything from PyPI is pinned with hashes. Debian's packages are those of the day: for the very same image again, name
# the base image by its digest and a snapshot of Debian:
#   --build-arg AIRFLOW_IMAGE=apache/airflow:3.3.2-python3.11@sha256:... \
#   --build-arg DEBIAN_MIRROR=https://snapshot.debian.org/archive/debian/20261128T000000Z
ARG AIRFLOW_IMAGE=apache/airflow:3.3.2-python3.11

# ---- Python packages: mysqlclient has no wheel for Linux, and no compiler stays in the image ----
FROM ${AIRFLOW_IMAGE} AS wheels
USER root
RUN apt-get update \
    && { python3 -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null \
        || apt-get install --yes --no-install-recommends python3-dev; } \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libmariadb-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
USER airflow
WORKDIR /tmp/wheels
COPY include/docker/build.txt include/docker/requirements.txt /tmp/
RUN pip install --quiet --no-cache-dir --no-deps --require-hashes --requirement /tmp/build.txt \
    && pip wheel --quiet --no-cache-dir --no-deps --no-build-isolation --require-hashes --requirement /tmp/requirements.txt

# ---- MySQL's programs with their own libraries: Debian's release of the base image has MariaDB's alone ----
FROM ${AIRFLOW_IMAGE} AS mysql
USER root
ARG DEBIAN_MIRROR=
COPY scripts/get-mysql.sh /tmp/
RUN apt-get update \
    && SPOQPLUS_DEBIAN_MIRROR="${DEBIAN_MIRROR}" /tmp/get-mysql.sh /opt/mysql-9.7 \
    && cd /opt/mysql-9.7/tree/usr \
    && find bin sbin -type f ! -name mysql ! -name mysqladmin ! -name mysqldump ! -name mysqlbinlog ! -name mysqld -delete \
    && rm -rf share/perl share/perl5 lib/*-linux-gnu*/perl lib/*-linux-gnu*/perl-base lib/*-linux-gnu*/gconv \
    && /opt/mysql-9.7/bin/mysqld --version

# ---- the image ----
FROM ${AIRFLOW_IMAGE}
USER root
# age, gnupg: encryption; acl, attr, rsync: files; mariadb-server-core: private servers for single tables and recovery tests
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        acl age attr ca-certificates git gnupg mariadb-client mariadb-server-core openssh-client openssl procps rsync util-linux zstd \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=airflow --group=0 --mode=0775 \
        /backup /backup/repository /backup/staging /backup/uploads /opt/airflow/logs /var/www/html \
        /var/lib/spoqplus /var/lib/spoqplus/prometheus /var/lib/spoqplus/alertmanager
COPY --from=mysql /opt/mysql-9.7 /opt/mysql-9.7
USER airflow
RUN --mount=type=bind,from=wheels,source=/tmp/wheels,target=/tmp/wheels \
    pip install --quiet --no-cache-dir --no-deps --no-index /tmp/wheels/*.whl
COPY --chown=root:root --chmod=0755 include/docker/bin /usr/local/bin
COPY --chown=root:root include/docker/airflow.cfg /opt/airflow/airflow.cfg
COPY --chown=root:root include /opt/airflow/include
COPY --chown=root:root plugins /opt/airflow/plugins
COPY --chown=root:root dags /opt/airflow/dags
ENV SPOQPLUS_CONNECTIONS_FILE=/run/spoqplus/connections.json
# everything that the DAGs and the pages may import is there, and in versions that work together
RUN PYTHONPATH=/opt/airflow/plugins python /opt/airflow/include/docker/check_imports.py \
    && spoqplus-backup --help >/dev/null
