# customerd in an image: built with the Swift toolchain, run on a slim Debian with nothing but libpq.
#
#   docker build -t customerd .        buildah build -t customerd .
#
# Where no registry is reachable, name bases of your own: --build-arg BUILD_IMAGE=… --build-arg BASE_IMAGE=…
ARG BUILD_IMAGE=docker.io/library/swift:6.3-bookworm
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libpq-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The Swift runtime goes into the binary, debug symbols stay out.
RUN swift build --configuration release --product customerd --static-swift-stdlib -Xlinker -s \
    && install -D "$(swift build --configuration release --show-bin-path)/customerd" /out/customerd

FROM ${BASE_IMAGE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libpq5 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin customerd
COPY --from=build /out/customerd /usr/local/bin/customerd
COPY sql/audit /usr/share/customerd/audit
# It writes nothing but to its standard streams: run it with a read-only root file system.
USER 10001:10001
ENV CUSTOMERD_HOST=0.0.0.0 CUSTOMERD_PORT=8080
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/${CUSTOMERD_PORT} && printf 'GET /health/ready HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["customerd"]
CMD ["serve"]
