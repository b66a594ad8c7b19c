"""Images: tags follow content, and each way of obtaining one is tried in its order."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import pytest
from docker.errors import APIError, ImageNotFound

from alertdrill.errors import ImageUnavailable, UsageError
from alertdrill.stack import registries
from alertdrill.stack.build import (
    FILE_TIME,
    argument_name,
    ca_bundle,
    context_files,
    context_tar,
    disk_full,
    proxy_arguments,
)
from alertdrill.stack.component import Image
from alertdrill.stack.images import ImageStore, Outlook
from alertdrill.stack.progress import Progress
from alertdrill.stack.registries import Registries, official_version
from fixtures.images import IMAGES

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with two images, ``leaf`` built from ``root`` and the folder ``code``."""
    for name in ("root", "leaf"):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
        (folder / "file").write_text(name)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text("print()\n")
    return tmp_path


LEAF = Image("leaf", "1", needs=("root",), context=("code",))
ROOT = Image("root", "1")


def tag_of(project: Path, image: Image = LEAF) -> str:
    # A tag needs no engine: the client is never touched.
    store = ImageStore(None, project, project / ".cache", (LEAF, ROOT))  # type: ignore[arg-type]
    return store.tag(image)


class TestTag:
    def test_names_the_image_and_12_digits(self, project: Path) -> None:
        assert re.fullmatch(r"alertdrill/leaf:[0-9a-f]{12}", tag_of(project))

    def test_is_the_same_for_the_same_content_elsewhere(
        self, project: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        other = tmp_path_factory.mktemp("other") / "copy"
        shutil.copytree(project, other)
        assert tag_of(other) == tag_of(project)

    def test_ignores_what_python_leaves_behind_and_the_umask(self, project: Path) -> None:
        before = tag_of(project)
        (project / "code" / "__pycache__").mkdir()
        (project / "code" / "__pycache__" / "app.cpython-313.pyc").write_bytes(b"x")
        (project / "code" / "old.pyc").write_bytes(b"x")
        (project / "code" / "app.py").chmod(0o600)
        assert tag_of(project) == before

    @pytest.mark.parametrize(
        "change",
        [
            lambda p: (p / "images/leaf/file").write_text("other"),
            lambda p: (p / "images/leaf/file").chmod(0o755),
            lambda p: (p / "images/leaf/file").rename(p / "images/leaf/renamed"),
            lambda p: (p / "images/leaf/new").write_text(""),
            lambda p: (p / "code/app.py").write_text("print(1)\n"),
            lambda p: (p / "images/root/file").write_text("the parent changed"),
        ],
        ids=["bytes", "x bit", "name", "new file", "context", "parent"],
    )
    def test_changes_with(self, project: Path, change) -> None:  # type: ignore[no-untyped-def]
        before = tag_of(project)
        change(project)
        assert tag_of(project) != before

    def test_of_a_parent_does_not_depend_on_its_child(self, project: Path) -> None:
        before = tag_of(project, ROOT)
        (project / "images/leaf/file").write_text("other")
        assert tag_of(project, ROOT) == before

    def test_refuses_a_circle(self, project: Path) -> None:
        circle = (Image("leaf", "1", needs=("root",)), Image("root", "1", needs=("leaf",)))
        store = ImageStore(None, project, project / ".cache", circle)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="leaf needs itself"):
            store.tag(circle[0])

    @pytest.mark.parametrize(
        ("image", "says"),
        [
            (Image("nowhere", "1"), "there is no .*/images/nowhere/Dockerfile"),
            (Image("leaf", "1", context=("missing",)), "'missing' is not in"),
            (Image("leaf", "1", needs=("undeclared",)), "no image 'undeclared' is declared"),
        ],
    )
    def test_says_what_is_missing(self, project: Path, image: Image, says: str) -> None:
        with pytest.raises(UsageError, match=says):
            tag_of(project, image)


def test_the_context_has_no_owners_and_times(project: Path) -> None:
    with context_tar(context_files(project, LEAF), {"extra": b"1"}) as spool:
        members = tarfile.open(fileobj=io.BytesIO(spool.read())).getmembers()  # noqa: SIM115
    assert [m.name for m in members] == ["Dockerfile", "code/app.py", "file", "extra"]
    assert {(m.uid, m.gid, m.mtime, m.mode) for m in members} == {(0, 0, FILE_TIME, 0o644)}


def test_every_declared_image_has_what_it_needs() -> None:
    store = ImageStore(None, PROJECT, PROJECT / ".cache", IMAGES)  # type: ignore[arg-type]
    for image in IMAGES:
        if image.buildable:
            assert store.tag(image)
            dockerfile = (PROJECT / "images" / image.name / "Dockerfile").read_text()
            declared = set(re.findall(r"^ARG (\w+)$", dockerfile, re.MULTILINE))
            assert declared == {argument_name(name) for name in image.needs}
        else:
            assert image.official is not None


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("prom/prometheus:v3.5.0", "3.5.0"),
        ("redis:8-bookworm", "8"),
        ("localhost:5000/a/b", "latest"),
        ("ghcr.io/a/b:2.12.0@sha256:00", "2.12.0"),
    ],
)
def test_a_version_is_read_from_the_tag(reference: str, version: str) -> None:
    assert official_version(reference) == version


def test_the_bundle_of_authorities_is_the_one_that_the_environment_names(tmp_path: Path) -> None:
    mine = tmp_path / "mine.crt"
    mine.write_text("x")
    assert ca_bundle({"SSL_CERT_FILE": str(mine)}) == mine
    assert ca_bundle({"SSL_CERT_FILE": "/nowhere", "REQUESTS_CA_BUNDLE": str(mine)}) == mine


def test_the_proxies_of_the_host_are_told_under_both_names() -> None:
    told = proxy_arguments({"https_proxy": "http://p:1", "NO_PROXY": "", "HOME": "/root"})
    assert told == {"HTTPS_PROXY": "http://p:1", "https_proxy": "http://p:1"}


class _SilentEngine:
    """An engine whose way to every registry is dead, and that counts how often it was asked."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.api = self

    def inspect_distribution(self, reference: str) -> None:
        self.asked.append(reference)
        raise APIError(self.answer)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        ("dial tcp: lookup one.invalid: no such host", ["one.invalid/a:1", "two.invalid/c:1"]),
        ("manifest unknown", ["one.invalid/a:1", "one.invalid/b:1", "two.invalid/c:1"]),
    ],
    ids=["silent registry", "missing image"],
)
def test_a_silent_registry_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, answer: str, asked: list[str]
) -> None:
    engine = _SilentEngine(answer)
    monkeypatch.setattr(registries, "connect", lambda _timeout: engine)
    known = Registries()
    for reference in ("one.invalid/a:1", "one.invalid/b:1", "two.invalid/c:1"):
        assert answer in str(known.trouble(reference))
    assert engine.asked == asked


def test_a_full_disk_is_one_sentence_with_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        def info(self) -> dict[str, str]:
            return {"DockerRootDir": "/"}

    sentence = str(disk_full(Engine(), "image x stopped at step 2/3"))  # type: ignore[arg-type]
    assert re.search(
        r"^the disk is full: image x stopped at step 2/3; / has [\d.]+ GiB free and building "
        r"all images needs about \d+ GiB; .*frees some$",
        sentence,
    )


# --- with an engine ---------------------------------------------------------------------------


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    client = docker.from_env(timeout=60)
    yield client
    client.close()


@pytest.fixture
def base(client: docker.DockerClient) -> str:
    """A parent that has a shell: the project's own base image."""
    store = ImageStore(client, PROJECT, PROJECT / ".cache", IMAGES)
    return store.resolve([store.image("base")], Progress())["base"].reference


class Workshop:
    """Images under names that nothing else uses, removed afterwards."""

    def __init__(self, client: docker.DockerClient, root: Path) -> None:
        self.client = client
        self.root = root
        self.names: list[str] = []

    def image(self, dockerfile: str, **options: object) -> Image:
        name = f"test-{uuid.uuid4().hex[:8]}"
        self.names.append(name)
        folder = self.root / "images" / name
        folder.mkdir(parents=True)
        (folder / "Dockerfile").write_text(dockerfile)
        return Image(name, "1", **options)  # type: ignore[arg-type]

    def store(self, *images: Image) -> ImageStore:
        return ImageStore(self.client, self.root, self.root / ".cache", images)

    def clean(self) -> None:
        for name in reversed(self.names):
            for image in self.client.images.list(f"alertdrill/{name}"):
                self.client.images.remove(str(image.id), force=True)


@pytest.fixture
def workshop(client: docker.DockerClient, tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(client, tmp_path)
    yield workshop
    workshop.clean()


@pytest.mark.docker
def test_what_a_stand_in_leaves_unverified_is_told_built_and_found(workshop: Workshop) -> None:
    image = workshop.image("FROM scratch\nCOPY Dockerfile /\n", stand_in="half of it")
    for source in ("built", "local"):
        found = workshop.store(image).resolve([image], Progress())[image.name]
        assert (found.source, found.unverified) == (source, "half of it")


@pytest.mark.docker
def test_a_second_run_builds_nothing(workshop: Workshop) -> None:
    image = workshop.image("FROM scratch\nCOPY Dockerfile /\n")
    first = workshop.store(image).resolve([image], Progress())[image.name]
    second = workshop.store(image).resolve([image], Progress())[image.name]
    assert (first.source, second.source) == ("built", "local")
    assert (first.reference, first.digest) == (second.reference, second.digest)
    assert workshop.store(image).plan([image])[0].outlook is Outlook.PRESENT
    labels = workshop.client.images.get(first.reference).labels
    assert labels["alertdrill.image"] == image.name


@pytest.mark.docker
def test_two_processes_do_not_build_the_same_image(workshop: Workshop, base: str) -> None:
    image = workshop.image(f"FROM {base}\nRUN sleep 2; date > /when\n")
    stores = [workshop.store(image), workshop.store(image)]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda s: s.resolve([image], Progress())[image.name], stores))
    assert sorted(result.source for result in results) == ["built", "local"]


@pytest.mark.docker
def test_parents_are_built_first_and_passed_as_arguments(workshop: Workshop) -> None:
    parent = workshop.image("FROM scratch\nCOPY Dockerfile /parent\n")
    argument = argument_name(parent.name)
    child = workshop.image(
        f"ARG {argument}\nFROM ${{{argument}}}\nCOPY Dockerfile /child\n", needs=(parent.name,)
    )
    store = workshop.store(child, parent)
    assert set(store.resolve([child], Progress())) == {child.name}
    history = workshop.client.images.get(store.tag(child)).history()
    parent_id = workshop.client.images.get(store.tag(parent)).id
    assert parent_id in {layer["Id"] for layer in history}


@pytest.mark.docker
def test_what_earlier_stages_leave_is_removed(workshop: Workshop, base: str) -> None:
    marker = uuid.uuid4().hex
    image = workshop.image(
        f"FROM {base} AS build\nLABEL marker={marker}\nRUN echo 1 > /out\n"
        f"FROM {base}\nCOPY --from=build /out /out\n"
    )
    workshop.store(image).resolve([image], Progress())
    assert workshop.client.images.list(all=True, filters={"label": f"marker={marker}"}) == []
    assert workshop.client.images.get(base)


@pytest.mark.docker
def test_a_tag_never_names_what_was_edited_after_it(workshop: Workshop) -> None:
    image = workshop.image("FROM scratch\nCOPY Dockerfile /\n")
    store = workshop.store(image)
    tag = store.tag(image)
    (workshop.root / "images" / image.name / "new").write_text("edited")
    with pytest.raises(ImageUnavailable, match="its files changed in the meantime"):
        store.resolve([image], Progress())
    with pytest.raises(ImageNotFound):
        workshop.client.images.get(tag)
    assert workshop.store(image).resolve([image], Progress())[image.name].source == "built"


@pytest.mark.docker
def test_a_failed_build_says_where_and_shows_its_last_lines(workshop: Workshop, base: str) -> None:
    text, log = failed_build(workshop, base)
    assert "step 2/3 RUN seq 1 100" in text
    assert "returned a non-zero code: 7" in text
    assert "    boom" in text
    assert "    75\n" in text
    assert "    70\n" not in text
    assert "Removing intermediate" not in text
    assert "\n42\n" in log


def failed_build(workshop: Workshop, base: str) -> tuple[str, str]:
    """A failure's words and its log, of a build whose output the engine passed on whole.

    Under load the engine loses now and then some of what a command printed, or mixes up its two
    streams: built again then.
    """
    for _ in range(5):
        image = workshop.image(f"FROM {base}\nRUN seq 1 100 && echo boom >&2 && sleep 1; exit 7\n")
        with pytest.raises(ImageUnavailable) as caught:
            workshop.store(image).resolve([image], Progress())
        text = str(caught.value)
        assert f"image {image.name} can't be built" in text
        log = Path(text.rpartition("full log")[2].strip()).read_text()
        printed = [line for line in log.splitlines() if line == "boom" or line.isdigit()]
        if printed == [*map(str, range(1, 101)), "boom"]:
            break
    return text, log


@pytest.mark.docker
def test_a_full_disk_is_recognised(workshop: Workshop, base: str) -> None:
    # What it prints just before it ends may be lost, see failed_build.
    fills = "dd if=/dev/zero of=/dev/full count=1; code=$?; sleep 1; exit $code"
    image = workshop.image(f"FROM {base}\nRUN {fills}\n")
    with pytest.raises(ImageUnavailable, match=r"the disk is full: .*step 2/3 RUN dd if"):
        workshop.store(image).resolve([image], Progress())


@pytest.mark.docker
def test_a_cancelled_build_ends_at_once(workshop: Workshop, base: str) -> None:
    image = workshop.image(f"FROM {base}\nRUN echo begun && sleep 120\n")
    store = workshop.store(image)
    log = workshop.root / ".cache" / "logs" / f"image-{image.name}.log"

    def cancel_when_begun() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if log.exists() and "\nbegun\n" in log.read_text():
                break
            threading.Event().wait(0.05)
        store.cancel()

    canceller = threading.Thread(target=cancel_when_begun)
    canceller.start()
    begun = time.monotonic()
    with pytest.raises(ImageUnavailable):
        store.resolve([image], Progress())
    canceller.join()
    assert time.monotonic() - begun < 40
    with pytest.raises(ImageNotFound):
        workshop.client.images.get(store.tag(image))


@pytest.mark.docker
def test_an_image_that_cannot_be_had_is_named(workshop: Workshop) -> None:
    image = Image("ghost", "1", "registry.invalid/ghost:1", buildable=False)
    store = workshop.store(image)
    with pytest.raises(ImageUnavailable, match=r"registry\.invalid/ghost:1 can't be pulled \(.+\)"):
        store.resolve([image], Progress())
    prospect = store.plan([image])[0]
    assert prospect.outlook is Outlook.UNAVAILABLE
    assert "registry.invalid" in prospect.why


class Registry:
    """A registry on loopback that has one image, for the real engine to pull."""

    def __init__(self) -> None:
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            info = tarfile.TarInfo("marker")
            info.size = 16
            tar.addfile(info, io.BytesIO(uuid.uuid4().bytes))
        self.blobs: dict[str, bytes] = {}
        layer_digest = self._keep(layer.getvalue())
        config = self._keep(
            json.dumps(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "config": {},
                    "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
                }
            ).encode()
        )
        media = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": media,
                "config": {
                    "mediaType": "application/vnd.docker.container.image.v1+json",
                    "size": len(self.blobs[config]),
                    "digest": config,
                },
                "layers": [
                    {
                        "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                        "size": len(self.blobs[layer_digest]),
                        "digest": layer_digest,
                    }
                ],
            }
        ).encode()
        self.digest = self._keep(manifest)
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path in ("/v2/", "/v2/thing/manifests/1.2")
                digest = self.path.rpartition("/")[2]
                body, status = b"{}", 200
                if digest in registry.blobs:
                    body = registry.blobs[digest]
                elif self.path.endswith("/manifests/1.2"):
                    body = manifest
                elif not found:
                    body, status = b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', 404
                self.send_response(status)
                is_manifest = "/manifests/" in self.path and status == 200
                self.send_header("Content-Type", media if is_manifest else "application/json")
                if is_manifest:
                    self.send_header("Docker-Content-Digest", registry.digest)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _keep(self, blob: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        self.blobs[digest] = blob
        return digest


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    yield registry
    registry.server.shutdown()
    registry.server.server_close()


@pytest.mark.docker
def test_the_official_image_is_pulled_before_anything_is_built(
    workshop: Workshop, registry: Registry
) -> None:
    reference = f"{registry.address}/thing:1.2"
    image = workshop.image("FROM scratch\nCOPY Dockerfile /\n", official=reference)
    store = workshop.store(image)
    assert store.plan([image])[0].outlook is Outlook.PULLABLE
    try:
        pulled = store.resolve([image], Progress())[image.name]
        assert (pulled.source, pulled.reference) == ("pulled", reference)
        assert (pulled.digest, pulled.version) == (registry.digest, "1.2")
        again = workshop.store(image).resolve([image], Progress())[image.name]
        assert (again.source, again.digest) == ("local", registry.digest)
    finally:
        workshop.client.images.remove(reference)


@pytest.mark.docker
def test_what_the_registry_does_not_have_is_built(workshop: Workshop, registry: Registry) -> None:
    image = workshop.image(
        "FROM scratch\nCOPY Dockerfile /\n", official=f"{registry.address}/other:9"
    )
    store = workshop.store(image)
    assert store.plan([image])[0].outlook is Outlook.BUILDABLE
    assert store.resolve([image], Progress())[image.name].source == "built"
