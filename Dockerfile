# syntax=docker/dockerfile:1
#
#   docker build -t vydra .
#   docker run --read-only -p 8787:8787 -v vydra:/data vydra
#
# What runs is the program, the libraries it is linked with, and the certificates of public authorities: no shell, no
# package manager. It runs as nobody in particular, and writes to /data alone.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package vydra-cli \
    && sh deploy/image/rootfs.sh target/release/vydra /rootfs

FROM scratch
COPY --from=build /rootfs /
COPY --from=build --chown=65532:65532 /rootfs/data /data
USER 65532:65532
ENV VYDRA__SERVER__LISTEN=0.0.0.0:8787
EXPOSE 8787
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/vydra"]
CMD ["serve", "--data-dir", "/data"]
