# syntax=docker/dockerfile:1
#
#   docker build --target cpu -t brood .
#   docker build --target cuda -t brood:cuda .
#   docker run --rm -v brood-runs:/runs brood train
#   docker run --rm --gpus all -v brood-runs:/runs brood:cuda train --device cuda
#
# Base images are named by tag, so that they get their fixes. For a build that is the
# same in a year, name them by digest: `docker buildx imagetools inspect golang:1.26-bookworm`
# prints it, and golang:1.26-bookworm@sha256:... is then the same image for good.
# A version for `brood version`: --build-arg VERSION=$(git describe --tags --always).

FROM golang:1.26-bookworm AS source
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The folder of the volume, and one for temporary files: scratch has none.
RUN mkdir -p /out/runs /out/tmp && chmod 1777 /out/tmp

FROM source AS build-cpu
ARG VERSION=container
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X brood/internal/version.stamped=$VERSION" -o /out/brood ./cmd/brood

FROM source AS build-cuda
ARG VERSION=container
# CUDA's header comes from PyPI: no toolkit is needed.
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
RUN sh cuda/headers.sh && . build/cuda/env && \
	go build -tags cuda -trimpath -buildvcs=false -ldflags "-s -w -X brood/internal/version.stamped=$VERSION" -o /out/brood ./cmd/brood

# The program and nothing else; runs go to /runs, because `brood train` writes to runs/.
FROM scratch AS cpu
COPY --from=build-cpu /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build-cpu --chown=65532:65532 /out/runs /runs
COPY --from=build-cpu /out/tmp /tmp
COPY --from=build-cpu /out/brood /brood
USER 65532:65532
VOLUME /runs
WORKDIR /
ENTRYPOINT ["/brood"]
CMD ["train"]

# NVIDIA's container toolkit puts the driver's library into the container; the
# program itself needs glibc alone.
FROM debian:bookworm-slim AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-cuda /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build-cuda --chown=65532:65532 /out/runs /runs
COPY --from=build-cuda /out/brood /usr/local/bin/brood
USER 65532:65532
VOLUME /runs
WORKDIR /
ENTRYPOINT ["brood"]
CMD ["train"]
