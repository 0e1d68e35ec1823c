# A service that labels pictures over HTTP, on the CPU: docs/docker.md.
#
#     docker build -t image_semantic_segmentation .
#     docker run --name segmentation -p 80:80 image_semantic_segmentation
#
# MODEL says where the model in the image comes from: `demo` (trained here on generated streets, int8), `url` (an exported
# file at MODEL_URL, checked against MODEL_SHA256 where that is given) or `none` (mount one at /models).
# tools/replay_dockerfile.py goes through these steps without Docker. It knows the instructions used here and no others.
#
# Base and packages are those that were tested; raise them together, pyproject.toml has the lower bounds. For a base that
# cannot change under its tag: --build-arg PYTHON_DIGEST=@sha256:... (docker buildx imagetools inspect IMAGE shows it).

ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
ARG PYTHON_DIGEST=
ARG MODEL=demo

# --- what serve, infer and verify import of a file's: no torch. Each package is named, and nothing else comes along
FROM ${PYTHON_IMAGE}${PYTHON_DIGEST} AS runtime
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    PATH=/opt/edgeailite/venv/bin:$PATH
# Without pip, which the base image has for building.
RUN python3 -m venv --without-pip /opt/edgeailite/venv
RUN pip --python /opt/edgeailite/venv/bin/python install --no-deps typing_extensions==4.16.0 \
        onnxruntime==1.32.0 flatbuffers==25.12.19 protobuf==7.36.2 \
        numpy==2.4.6 opencv-python-headless==5.0.0.93 isal==1.9.1 \
        flask==3.1.3 werkzeug==3.1.9 jinja2==3.1.6 markupsafe==3.0.4 itsdangerous==2.2.0 click==8.5.1 blinker==1.9.0 \
        waitress==3.0.2 tyro==1.0.17 docstring-parser==0.18.0 typeguard==4.6.1 rich==15.0.0 markdown-it-py==4.3.0 \
        mdurl==0.1.2 pygments==2.21.0 PyYAML==6.0.4 packaging==26.4
WORKDIR /opt/edgeailite/source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY edgeailite ./edgeailite
RUN pip --python /opt/edgeailite/venv/bin/python install --no-deps . && \
    python3 -c "import edgeailite.commands.serve, edgeailite.commands.infer, edgeailite.serve.server"

# --- the model: /opt/edgeailite/model holds model.onnx, its contract where there is one, and a test picture
FROM runtime AS model-demo
ARG DEMO_IMAGES=400
ARG DEMO_EPOCHS=4
ARG TORCH=torch==2.14.1
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# What trains and exports stays in this stage. Torch is the build for the CPU: those of PyPI bring 3 GB of CUDA.
RUN pip --python /opt/edgeailite/venv/bin/python install --no-deps --index-url "$TORCH_INDEX" "$TORCH"
RUN pip --python /opt/edgeailite/venv/bin/python install --no-deps onnx==1.23.2 onnxscript==0.7.2 onnx-ir==1.1.0 \
        ml-dtypes==0.6.0 onnxsim==0.8.1 filelock==4.3.1 fsspec==2026.9.0 mpmath==1.3.0 networkx==3.6.1 sympy==1.14.0 \
        safetensors==0.8.0 matplotlib==3.11.2 cycler==0.12.1 kiwisolver==1.5.1 fonttools==4.68.0 pillow==13.0.0 \
        pyparsing==3.3.3 python-dateutil==4.0.0 tzdata==2026.6 contourpy==1.3.3
WORKDIR /opt/edgeailite/demo
RUN python3 -m edgeailite demo --save_path runs --data_path streets \
        --train_images "$DEMO_IMAGES" --val_images 20 --epochs "$DEMO_EPOCHS"
RUN mkdir /opt/edgeailite/model && cd /opt/edgeailite/model && \
    cp /opt/edgeailite/demo/runs/qat/model_int8.onnx model.onnx && \
    cp /opt/edgeailite/demo/runs/qat/contract_int8.json contract.json && \
    cp "$(find /opt/edgeailite/demo/streets/leftImg8bit/val -name '*.png' | sort | head -n 1)" test.png

FROM runtime AS model-url
ARG MODEL_URL
ARG MODEL_SHA256=
COPY tools/container.sh /opt/edgeailite/container.sh
RUN MODELS=/opt/edgeailite/model bash /opt/edgeailite/container.sh init

FROM runtime AS model-none
RUN mkdir /opt/edgeailite/model

FROM model-${MODEL} AS model

# --- the image
FROM ${PYTHON_IMAGE}${PYTHON_DIGEST}
COPY --from=runtime /opt/edgeailite/venv /opt/edgeailite/venv
COPY --from=model /opt/edgeailite/model /opt/edgeailite/model
COPY tools/container.sh /opt/edgeailite/container.sh
RUN mkdir /models && chown 10001:10001 /models
# Nothing is written but /models (init) and /tmp, so that the root may be read-only; there is no home. onnxruntime from PyPI
# reports to its maker unless it is told not to.
ENV PATH=/opt/edgeailite/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 ORT_DISABLE_TELEMETRY=1 HOME=/tmp EDGEAILITE_HOME=/tmp/edgeailite PORT=80
WORKDIR /tmp
# A number, so that Kubernetes' runAsNonRoot can tell. Docker lets any user of a container listen on port 80 since 20.10.
USER 10001:10001
EXPOSE 80
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["bash", "/opt/edgeailite/container.sh", "ready"]
ENTRYPOINT ["bash", "/opt/edgeailite/container.sh"]
CMD ["serve"]
