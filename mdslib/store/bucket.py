"""A store in an S3-compatible bucket: the same files under the same names as in a folder.

The keys are those that every S3 tool reads: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and, where there is one,
``AWS_SESSION_TOKEN``; ``AWS_REGION``, and ``AWS_ENDPOINT_URL`` for a server that is not Amazon's. An object appears
whole when its upload has ended, so a part is replaced whole or not at all.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from mdslib.errors import ConfigError, CredentialError, DataError
from mdslib.store.files import Found
from mdslib.store.parquetparts import CHUNK_ROWS, ParquetParts
from mdslib.store.tickstore import TickStore

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_ATTEMPTS = 3
_CONNECT_S, _REQUEST_S = 5.0, 60.0
# What pyarrow says of a refusal, and what to do about it.
_REMEDIES = {
    "NO_SUCH_BUCKET": "there is no such bucket; create it, or look at its name",
    "ACCESS_DENIED": "these keys may not do that; look at the bucket's policy",
    "INVALID_ACCESS_KEY_ID": f"the key is not known there; look at {_KEYS[0]}",
    "SIGNATURE_DOES_NOT_MATCH": f"the secret is not the key's; look at {_KEYS[1]}",
    "NETWORK_CONNECTION": "nobody answers there; look at AWS_ENDPOINT_URL and the network",
    "HTTP status 403": f"these keys may not do that; look at {' and '.join(_KEYS)}, and the bucket's policy",
    "HTTP status 404": "there is no such bucket; create it, or look at its name",
}


class BucketFiles:
    """Objects of a bucket under a prefix; implements `mdslib.store.files.Files`.

    Raises
    ------
    CredentialError
        A key is missing in the environment.
    """

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.root = posixpath.join(bucket, prefix.strip("/")).rstrip("/")
        self._s3 = _connected()

    def name(self, path: str) -> str:
        """Return the object's address."""
        return f"s3://{self.root}/{path}"

    def open(self, path: str) -> Any:
        """Return the object as a file that can be sought in."""
        with _Clear(self.name(path)):
            return self._s3.open_input_file(f"{self.root}/{path}")

    def write(self, path: str, data: Any) -> None:
        """Put the object; it appears when the upload has ended."""
        with _Clear(self.name(path)), self._s3.open_output_stream(f"{self.root}/{path}") as stream:
            stream.write(data)

    def has(self, path: str) -> bool:
        """Tell whether there is such an object."""
        return str(self._info(path).type.name) == "File"

    def size(self, path: str) -> int:
        """Return its length in bytes."""
        return int(self._info(path).size)

    def find(self, pattern: str) -> Iterator[Found]:
        """Yield the objects whose path matches, in order of path."""
        from pyarrow.fs import FileSelector

        known = pattern.partition("*")[0].rpartition("/")[0]
        selector = FileSelector(posixpath.join(self.root, known).rstrip("/"), recursive=True, allow_not_found=True)
        wanted = re.compile("[^/]*".join(re.escape(piece) for piece in pattern.split("*")))
        with _Clear(self.name(known)):
            infos = self._s3.get_file_info(selector)
        for info in sorted(infos, key=lambda info: str(info.path)):
            path = str(info.path)[len(self.root) + 1 :]
            if info.type.name == "File" and wanted.fullmatch(path):
                yield Found(path, int(info.size))

    def _info(self, path: str) -> Any:
        with _Clear(self.name(path)):
            return self._s3.get_file_info(f"{self.root}/{path}")


class BucketStore(TickStore):
    """Parquet files in an S3-compatible bucket.

    Parameters
    ----------
    bucket, prefix : str
        The bucket, which must exist, and a folder in it.
    chunk_rows : int
        Rows of a row group.
    """

    def __init__(self, bucket: str, prefix: str = "", chunk_rows: int = CHUNK_ROWS) -> None:
        files = BucketFiles(bucket, prefix)
        super().__init__(ParquetParts(files, f"s3://{files.root}", chunk_rows))


class _Clear:
    """Says in one line why a bucket refused; what is not there stays `FileNotFoundError`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        text = str(error)
        remedy = next((said for mark, said in _REMEDIES.items() if mark in text), "")
        if isinstance(error, FileNotFoundError) and "NO_SUCH_BUCKET" not in text:
            return
        said = remedy or " ".join(text.split())[:300]
        raise DataError(f"bucket: {self.name} can't be read or written: {said}") from None


def _connected() -> Any:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    missing = [name for name in _KEYS if not os.environ.get(name)]
    if missing:
        raise CredentialError(f"a bucket needs {' and '.join(missing)} in the environment, received none; set them")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    where: dict[str, Any] = {}
    if endpoint:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(f"AWS_ENDPOINT_URL must be like https://s3.example.com, received {endpoint!r}")
        where = {"scheme": parts.scheme, "endpoint_override": parts.netloc}
    return S3FileSystem(
        access_key=os.environ[_KEYS[0]],
        secret_key=os.environ[_KEYS[1]],
        session_token=os.environ.get("AWS_SESSION_TOKEN"),
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        connect_timeout=_CONNECT_S,
        request_timeout=_REQUEST_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        **where,
    )


__all__ = ["BucketFiles", "BucketStore"]
