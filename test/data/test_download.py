"""Downloads against a local server that breaks off, lies or is away."""

import hashlib
import http.server
import io
import socket
import tarfile
import threading
from dataclasses import replace

import pytest

from speechlm.data.download import (
    AUDIO_MD5,
    LM_FILES,
    LM_MD5,
    TEXT_MD5,
    Source,
    download,
    download_lm,
    download_parts,
    download_text,
    extract,
)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `files`, with ranges if `ranges`; cuts each answer off after `limit` bytes."""

    files: dict[str, bytes] = {}
    limit = 10**9
    ranges = True
    requests: list[tuple[str, str | None]] = []

    def do_GET(self):
        asked = self.headers.get("Range")
        type(self).requests.append((self.path, asked))
        if self.path not in self.files:
            self.send_error(404)
            return
        content = self.files[self.path]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.limit])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    handler = type("OneHandler", (Handler,), {"files": {}, "requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        handler.source = Source((f"http://127.0.0.1:{running.server_port}",), pause=0.0)
        yield handler
        running.shutdown()
        thread.join()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


CONTENT = bytes(range(256)) * 4000


def test_interrupted_download_continues(tmp_path, server):
    server.files["/12/a"] = CONTENT
    server.limit = 300_000
    download("12/a", tmp_path / "new" / "a", md5(CONTENT), server.source)
    assert (tmp_path / "new" / "a").read_bytes() == CONTENT
    assert [r for _, r in server.requests] == [None] + [
        f"bytes={n}-" for n in (300_000, 600_000, 900_000)
    ]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a"]


def test_part_of_an_earlier_run_is_used(tmp_path, server):
    server.files["/12/a"] = CONTENT
    (tmp_path / "a.part").write_bytes(CONTENT[:1000])
    download("12/a", tmp_path / "a", md5(CONTENT), server.source)
    assert server.requests == [("/12/a", "bytes=1000-")]
    assert (tmp_path / "a").read_bytes() == CONTENT
    download("12/a", tmp_path / "a", md5(CONTENT), server.source)
    assert len(server.requests) == 1


def test_whole_part_is_only_renamed(tmp_path, server):
    server.files["/12/a"] = CONTENT
    (tmp_path / "a.part").write_bytes(CONTENT)
    download("12/a", tmp_path / "a", md5(CONTENT), server.source)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_server_without_ranges(tmp_path, server):
    server.files["/12/a"] = CONTENT
    server.ranges = False
    (tmp_path / "a.part").write_bytes(CONTENT[:1000])
    download("12/a", tmp_path / "a", md5(CONTENT), server.source)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_wrong_checksum(tmp_path, server):
    server.files["/12/a"] = CONTENT
    with pytest.raises(ValueError, match=f"MD5 sum {md5(b'x')} expected.*run the same command"):
        download("12/a", tmp_path / "a", md5(b"x"), server.source)
    assert list(tmp_path.iterdir()) == []


def test_damaged_file_is_fetched_again(tmp_path, server):
    server.files["/12/a"] = CONTENT
    (tmp_path / "a").write_bytes(b"damaged")
    download("12/a", tmp_path / "a", md5(CONTENT), server.source)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_stuck_server_is_given_up_but_the_part_is_kept(tmp_path, server):
    server.files["/12/a"] = CONTENT
    server.limit = 0
    (tmp_path / "a.part").write_bytes(CONTENT[:1000])
    with pytest.raises(ValueError, match="the connection ended early"):
        download("12/a", tmp_path / "a", md5(CONTENT), server.source)
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:1000]


def test_second_mirror(tmp_path, server):
    server.files["/good/12/a"] = CONTENT
    base = server.source.mirrors[0]
    source = replace(server.source, mirrors=(f"{base}/bad", f"{base}/good"))
    download("12/a", tmp_path / "a", md5(CONTENT), source)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_no_network(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = Source((f"http://127.0.0.1:{port}",), pause=0.0)
    with pytest.raises(ValueError, match=r"cannot be downloaded: .*refused.*Without a network"):
        download("12/a", tmp_path / "a", md5(CONTENT), source)


def test_parts_are_unpacked_once(tmp_path, server):
    content = archive(
        **{"LibriSpeech__dev__1__2__1-2-0000.flac": b"x", "LibriSpeech__README": b"y"}
    )
    server.files["/12/dev.tar.gz"] = content
    for _ in range(2):
        download_parts(["dev"], tmp_path, server.source, {"dev": md5(content)})
    assert (tmp_path / "LibriSpeech/dev/1/2/1-2-0000.flac").read_bytes() == b"x"
    assert len(server.requests) == 1
    with pytest.raises(ValueError, match="parts dev expected, got train"):
        download_parts(["train"], tmp_path, server.source, {"dev": ""})


def test_archive_without_the_part(tmp_path, server):
    content = archive(other=b"x")
    server.files["/12/dev.tar.gz"] = content
    with pytest.raises(ValueError, match="has no folder LibriSpeech/dev"):
        download_parts(["dev"], tmp_path, server.source, {"dev": md5(content)})


@pytest.mark.parametrize("name", ["..__..__evil", "__etc__evil"])
def test_archives_that_reach_outside(tmp_path, name):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "x.tar.gz").write_bytes(archive(**{name: b"x"}))
    if name.startswith(".."):
        with pytest.raises(ValueError, match="cannot be unpacked"):
            extract(tmp_path / "x.tar.gz", inner)
    else:  # an absolute path loses its slash
        extract(tmp_path / "x.tar.gz", inner)
        assert (inner / "etc" / "evil").exists()
    assert not (tmp_path / "evil").exists()


def test_links_are_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        link = tarfile.TarInfo("LibriSpeech")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    with pytest.raises(ValueError, match="LibriSpeech is no file and no folder"):
        extract(tmp_path / "x.tar.gz", tmp_path / "out")
    assert not (tmp_path / "out" / "LibriSpeech").exists()


def test_truncated_archive(tmp_path):
    content = archive(a=bytes(range(256)) * 1000)
    (tmp_path / "x.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="x.tar.gz cannot be unpacked"):
        extract(tmp_path / "x.tar.gz", tmp_path)


def test_text(tmp_path, server):
    server.files["/11/t.gz"] = b"text"
    download_text(tmp_path, server.source, {"t.gz": md5(b"text")})
    assert (tmp_path / "t.gz").read_bytes() == b"text"


def test_word_models_get_the_names_of_the_options(tmp_path, server):
    contents = {name: name.encode() * 1000 for name in LM_FILES.values()}
    server.files.update({f"/11/{name}": content for name, content in contents.items()})
    server.limit = 20_000
    sums = {name: md5(content) for name, content in contents.items()}
    for _ in range(2):
        download_lm(tmp_path / "lm", server.source, sums)
    found = {path.name: path.read_bytes() for path in (tmp_path / "lm").iterdir()}
    assert found == {final: contents[name] for final, name in LM_FILES.items()}
    whole = [path for path, start in server.requests if start is None]
    assert sorted(whole) == sorted(server.files)  # each once; the rest are continuations
    assert len(server.requests) > len(whole)


def test_a_word_model_that_is_not_the_corpus_s_is_refused(tmp_path, server):
    server.files.update({f"/11/{name}": b"another" for name in LM_FILES.values()})
    with pytest.raises(ValueError, match="decode_lm.arpa.gz: MD5 sum 8f67ec7.* expected"):
        download_lm(tmp_path, server.source)
    assert list(tmp_path.iterdir()) == []


def test_what_to_do_without_a_network(tmp_path, server):
    """The file's name there, and the place where it belongs."""
    place = tmp_path / "lm" / "decode_lm.arpa.gz"
    with pytest.raises(ValueError, match=rf"3-gram\S+ cannot be .* put it there as {place}, or"):
        download_lm(tmp_path / "lm", server.source)


def test_checksums_are_of_files_that_are_downloaded():
    assert set(LM_FILES.values()) == set(LM_MD5)
    for checksum in (*AUDIO_MD5.values(), *TEXT_MD5.values(), *LM_MD5.values()):
        assert len(bytes.fromhex(checksum)) == 16
