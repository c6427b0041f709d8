"""`lake.files` and `lake.bucket`: a folder and a bucket answer alike, and hold each file whole or not at all."""

from contextlib import suppress
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake.bucket import BucketFiles
from lake.files import Folder
from tests.objects import SECRET, at_random, faulty, use
from tests.strategies import examples

MOTO = settings(examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])


def filled(data: bytes):
    return lambda path: path.write_bytes(data)


def quick(place, **more) -> BucketFiles:
    """Without pauses between tries."""
    return BucketFiles(place, rng=Random(7), sleep=lambda seconds: None, **more)


@pytest.fixture(params=["folder", "bucket"])
def files(request, tmp_path):
    if request.param == "folder":
        return Folder(tmp_path / "lake")
    return quick(request.getfixturevalue("service").place(tmp_path / "local"))


def test_a_file_is_created_once(files):
    """The same bytes again change nothing, and other bytes are refused."""
    assert files.create("a/b=1/x", filled(b"one"))
    version = files.stat("a/b=1/x")
    with suppress(FileExistsError):
        assert not files.create("a/b=1/x", filled(b"one"))
    with pytest.raises(FileExistsError):
        files.create("a/b=1/x", filled(b"two"))
    assert files.read("a/b=1/x") == b"one"
    assert files.stat("a/b=1/x") == version
    assert version.size == 3


def test_a_file_is_replaced_moved_and_removed(files):
    """Each step shows in what is there; what is gone is told so."""
    files.replace("a/x", filled(b"one"))
    before = files.stat("a/x")
    files.replace("a/x", filled(b"two!"))
    assert files.read("a/x") == b"two!"
    assert files.stat("a/x").version != before.version
    files.move("a/x", "_trash/now/a/x")
    assert (files.walk("a"), files.walk("_trash")) == ([], ["_trash/now/a/x"])
    files.remove("_trash/now/a/x")
    files.remove("_trash/now/a/x")
    assert files.stat("a/x") is None
    for ask in (files.read, lambda path: files.edges(path, 4, 8), lambda path: files.move(path, "b")):
        with pytest.raises(FileNotFoundError):
            ask("a/x")


def test_what_is_there(files):
    """Folders by level and value, with the names in them; files that lie elsewhere are in no folder of a table."""
    paths = [
        "t/v=a/d=1/x",
        "t/v=a/d=2/x",
        "t/v=a/d=2/y",
        "t/v=b/d=1/z",
        "t/stray",
        "t/v=a/stray",
        "t/v=a/d=1/deep/x",
        "tt/x",
    ]
    for path in paths:
        files.replace(path, filled(b"1"))
    assert files.walk("t") == sorted(paths[:-1])
    both = {folder: sorted(set(names) - {"deep"}) for folder, names in files.tree("t", [None, None]) if names}
    assert both == {"t/v=a/d=1": ["x"], "t/v=a/d=2": ["x", "y"], "t/v=b/d=1": ["z"]}
    assert [(folder, sorted(names)) for folder, names in files.tree("t", [["a"], ["2"]])] == [("t/v=a/d=2", ["x", "y"])]
    assert [folder for folder, names in files.tree("t", [None, ["1"]]) if names] == ["t/v=a/d=1", "t/v=b/d=1"]
    assert [folder for folder in files.folders("t", [["b", "c"], None]) if "=" in folder] == ["t/v=b/d=1"]
    assert files.tree("none", [None]) == []
    assert set(files.stats(["t/v=a/d=2/y", "t/v=b/d=1/none", "t/v=b/d=1/z"])) == {"t/v=a/d=2/y", "t/v=b/d=1/z"}


def test_a_folder_that_changed_has_another_mark(files):
    """A file that came, and one that left; nothing changed, nothing new."""
    marks = [files.mark("t/d=1")]
    for step in (
        lambda: files.replace("t/d=1/x", filled(b"1")),
        lambda: files.replace("t/d=1/y", filled(b"2")),
        lambda: files.remove("t/d=1/x"),
    ):
        step()
        assert files.mark("t/d=1") == files.mark("t/d=1")
        marks.append(files.mark("t/d=1"))
    assert marks[0] is None
    assert len(set(marks)) == 4


@pytest.mark.parametrize("data", [b"", b"ab", b"abcdefghijkl", b"x" * 5_000])
def test_edges(files, data):
    """Of a short file what there is."""
    files.replace("t/x", filled(data))
    assert files.edges("t/x", 4, 8) == (data[:4], data[-8:], len(data))


def test_a_write_that_breaks_leaves_nothing(files):
    """Neither half a file nor a temporary one, and the former one stays."""

    def breaks(path):
        path.write_bytes(b"half")
        raise ZeroDivisionError

    files.replace("t/old", filled(b"old"))
    for write in (files.create, files.replace):
        with pytest.raises(ZeroDivisionError):
            write("t/new", breaks)
    with pytest.raises(ZeroDivisionError):
        files.replace("t/old", breaks)
    assert files.walk("t") == ["t/old"]
    assert files.read("t/old") == b"old"


STEPS = st.tuples(
    st.sampled_from(["create", "replace", "remove", "move"]), st.sampled_from("ab"), st.binary(max_size=2)
)


@MOTO
@given(steps=st.lists(STEPS, max_size=8), seed=st.integers(0, 2**32))
def test_a_bucket_that_fails_is_a_dict_that_is_asked_again(steps, seed, service, tmp_path_factory):
    """Whatever is done, with 503s and lost answers in between, leaves what it leaves in a dict."""
    known: dict[str, bytes] = {}
    faults = at_random(Random(seed), 0.3, "503", "lost")
    with faulty(service.url, faults) as url, pytest.MonkeyPatch.context() as patch:
        use(patch, url)
        files = quick(service.place(tmp_path_factory.mktemp("local")), tries=40)
        for what, name, data in steps:
            if what == "create":
                try:
                    files.create(name, filled(data))
                    assert known.setdefault(name, data) == data
                except FileExistsError:
                    assert known.get(name, data) != data
            elif what == "replace":
                files.replace(name, filled(data))
                known[name] = data
            elif what == "remove":
                files.remove(name)
                known.pop(name, None)
            elif name in known:
                files.move(name, "c")
                known["c"] = known.pop(name)
        assert {path: files.read(path) for path in files.walk("")} == known


@pytest.mark.parametrize("fault", ["503", "500", "429", "lost"])
def test_a_fault_that_passes_is_waited_out(fault, service, tmp_path, monkeypatch):
    """F31: with full jitter, a pause of any length up to twice the longest before; the file is there once."""
    plan = iter([fault] * 3)
    with faulty(service.url, lambda method, path: next(plan, None)) as url:
        use(monkeypatch, url)
        pauses: list[float] = []
        files = BucketFiles(service.place(tmp_path), rng=Random(3), sleep=pauses.append)
        assert files.create("x", filled(b"1"))
        assert files.read("x") == b"1"
    rng = Random(3)
    assert pauses == [rng.uniform(0, most) for most in (0.2, 0.4, 0.8)]


@pytest.mark.parametrize("fault", ["503", "403", "401", "400", "301", "lost"])
def test_a_fault_that_stays_is_told(fault, service, tmp_path, monkeypatch):
    """In one line with the status, after a few tries if it might have passed, and never with the keys."""
    asked: list[str] = []
    with faulty(service.url, lambda method, path: asked.append(method) or fault) as url:
        use(monkeypatch, url)
        files = quick(service.place(tmp_path))
        for ask in (lambda: files.create("x", filled(b"1")), lambda: files.read("x"), lambda: files.walk("x")):
            asked.clear()
            with pytest.raises(OSError) as caught:
                ask()
            assert len(asked) == (6 if fault in ("503", "lost") else 1)
            assert "\n" not in str(caught.value) and SECRET not in str(caught.value)
            assert {"lost": "no connection", "301": "AWS_REGION"}.get(fault, fault) in str(caught.value)


def test_an_unknown_outcome_is_settled_by_name(service, tmp_path, monkeypatch):
    """F30: applied and no answer: asked again, found there with the same bytes, done. Other bytes are a conflict."""
    plan = iter(["lost"])
    with faulty(service.url, lambda method, path: next(plan, None)) as url:
        use(monkeypatch, url)
        files = quick(service.place(tmp_path))
        assert files.create("x", filled(b"1"))
        assert not files.create("x", filled(b"1"))
        plan = iter(["lost"])
        with pytest.raises(FileExistsError):
            files.create("x", filled(b"2"))
        assert files.read("x") == b"1"


def test_only_that_version_is_swapped(service, tmp_path):
    """None is a file that is not there; a version that is no longer there changes nothing."""
    files = quick(service.place(tmp_path))
    first = files.swap("x", b"1", None)
    assert files.swap("x", b"2", None) is None
    second = files.swap("x", b"2", first)
    assert files.swap("x", b"3", first) is None
    assert files.load("x") == (b"2", second)
    assert files.load("y") is None
    assert files.swap("y", b"1", first) is None
