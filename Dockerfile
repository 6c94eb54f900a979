# The service: docker build -t wbcdet . && docker compose up
# Two stages: what only the build needs stays out of the image that runs.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/wbcdet
ENV PATH=/opt/wbcdet/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY wbcdet wbcdet
COPY weights weights
COPY datasets datasets
RUN pip install -c constraints.txt ".[serve,lis]"

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --create-home wbcdet
COPY --from=build /opt/wbcdet /opt/wbcdet
ENV PATH=/opt/wbcdet/bin:$PATH PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp
USER 10001
EXPOSE 8765
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8765/health', timeout=4)"]
# In exec form, so that the signal that ends the container reaches the service.
ENTRYPOINT ["wbcdet"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8765"]
