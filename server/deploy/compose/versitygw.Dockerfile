# The S3 server that the product is tested with, for trying things on one machine. Its
# folder becomes the start of a volume, with the bucket that the gateways want there.
ARG GO_IMAGE=golang:1.26
FROM ${GO_IMAGE} AS build
RUN CGO_ENABLED=0 GOBIN=/out go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
RUN mkdir -p /root-of-image/usr/bin /root-of-image/data/drives && chmod 0777 /root-of-image/data /root-of-image/data/drives && \
    cp /out/versitygw /root-of-image/usr/bin/

FROM scratch
COPY --from=build /root-of-image/ /
USER 65532:65532
EXPOSE 7070
ENTRYPOINT ["/usr/bin/versitygw"]
