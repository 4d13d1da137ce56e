# The image of customerd: built with the Swift toolchain, run on a slim Debian with libpq.
#
#   docker build -t customerd .        buildah build -t customerd .
#
# Without a registry, name other base images: --build-arg BUILD_IMAGE=… --build-arg BASE_IMAGE=…
ARG BUILD_IMAGE=docker.io/library/swift:6.3-bookworm
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libpq-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# With the Swift runtime in the binary, without debug symbols.
RUN swift build --configuration release --product customerd --static-swift-stdlib -Xlinker -s \
    && install -D "$(swift build --configuration release --show-bin-path)/customerd" /out/customerd

FROM ${BASE_IMAGE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libpq5 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin customerd
COPY --from=build /out/customerd /usr/local/bin/customerd
COPY sql/audit /usr/share/customerd/audit
# It writes only to its standard streams: run it with a read-only root file system.
USER 10001:10001
# In a network with IPv6, or with IPv6 alone, set CUSTOMERD_HOST to ::, which accepts IPv4 as well.
ENV CUSTOMERD_HOST=0.0.0.0 CUSTOMERD_PORT=8080
EXPOSE 8080
STOPSIGNAL SIGTERM
# It knows the settings of this container: address, port, TLS.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["customerd", "health"]
ENTRYPOINT ["customerd"]
CMD ["serve"]
