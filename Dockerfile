# The images can be replaced, for a mirror or an air-gapped build:
#   docker build --build-arg BUILDER=registry.example.com/golang:1.26 --build-arg BASE=registry.example.com/static .
ARG BUILDER=golang:1.26
ARG BASE=gcr.io/distroless/static-debian12:nonroot

# The compiler runs on the machine that builds, whatever it builds for.
FROM --platform=$BUILDPLATFORM ${BUILDER} AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY api/go.mod api/go.sum api/
RUN go mod download
COPY api/ api/
COPY cmd/ cmd/
COPY controllers/ controllers/
COPY internal/ internal/
COPY keycloak/ keycloak/
COPY nextcloud/ nextcloud/
ARG TARGETOS TARGETARCH VERSION=dev
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -ldflags "-s -w -X main.release=${VERSION}" -o /manager ./cmd/manager

FROM ${BASE}
COPY --from=build /manager /manager
# The number, not the name: runAsNonRoot cannot judge a name.
USER 65532:65532
ENTRYPOINT ["/manager"]
