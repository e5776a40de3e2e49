"""A server of this process that speaks S3, for tests; bucket and credentials are in the environment meanwhile."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
import pytest


@contextmanager
def s3_bucket() -> Iterator[str]:
    """Yield the URL of an empty folder in a bucket; skips the test where moto or s3fs is not installed."""
    server = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "testing")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        filesystem = fsspec.filesystem("s3")
        filesystem.clear_instance_cache()  # one that was made before has another endpoint
        bucket = f"thickets-{secrets.token_hex(4)}"  # servers of one process share their buckets
        fsspec.filesystem("s3").mkdir(bucket)
        yield f"s3://{bucket}/scores"
        filesystem.clear_instance_cache()
    running.stop()
