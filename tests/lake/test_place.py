"""`lake.place`: a folder or an address in an object store, and nothing else."""

from pathlib import Path

import pytest

from lake.bucket import service
from lake.errors import SettingError
from lake.place import Bucket, absolute, place
from lake.settings import load


def test_what_names_no_scheme_is_a_folder():
    """Also where it has colons or spaces in it."""
    assert place("data/live") == Path("data/live")
    assert place("it's: a = folder") == Path("it's: a = folder")
    assert absolute(Path("x")) == Path("x").absolute()


def test_an_address_is_a_bucket_and_a_prefix():
    """The same place has one name, and two places have two local folders."""
    found = place("s3://movers-1/lakes/live/")
    assert found == place(str(found)) == absolute(found)
    assert str(found) == "s3://movers-1/lakes/live"
    assert found.local == Path("data/spool/movers-1+lakes+live")
    assert place("s3://movers-1") == Bucket("movers-1", "", Path("data/spool/movers-1"))
    given = ["s3://abc/a/b", "s3://abc/a-b", "s3://abc/a", "s3://abc-a", "s3://abc"]
    assert len({place(text).local for text in given}) == len(given)


@pytest.mark.parametrize(
    "text",
    [
        "s3://",
        "s3:///x",
        "s3://Ab",
        "s3://ab/../x",
        "s3://abc//x",
        "s3://abc/.x",
        "s3://abc/a b",
        "gs://abc",
        "S3://abc",
    ],
)
def test_anything_else_is_refused(text):
    """By name, also as a setting, in one line with the next step."""
    with pytest.raises(SettingError, match=r"give a folder or s3://bucket/prefix"):
        place(text)
    with pytest.raises(SettingError, match=r"LAKE_URI=.*give a folder or s3://bucket/prefix.*\.env\.example"):
        load(lake_uri=text)


def test_settings_say_where_the_local_part_is(tmp_path):
    """Of a lake in a bucket; one in a folder has it within."""
    assert load(lake_uri="s3://abc/x", lake_local=tmp_path).lake_root == Bucket("abc", "x", tmp_path)
    assert load(lake_uri="s3://abc/x").lake_root.local == Path("data/spool/abc+x")
    assert load(lake_uri="somewhere", lake_local=tmp_path).lake_root == Path("somewhere")


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9000", "http://localhost:9000/", "http://[::1]:9", "https://s3.example"]
)
def test_the_object_store_is_that_of_the_environment(endpoint):
    """Plain HTTP on loopback alone; without an address it is Amazon's."""
    found = service({"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "eu-north-1"})
    assert found == (endpoint.rstrip("/"), "eu-north-1")
    assert found.is_plain == endpoint.startswith("http:")
    assert service({"AWS_ENDPOINT_URL": ""}) == (None, "us-east-1")


@pytest.mark.parametrize(
    "endpoint", ["http://10.0.0.1:9000", "http://127.0.0.1.example", "ftp://127.0.0.1", "s3.example"]
)
def test_keys_travel_by_https(endpoint):
    """An address elsewhere without TLS is refused, without what else is in it."""
    with pytest.raises(SettingError, match="by https only") as caught:
        service({"AWS_ENDPOINT_URL": endpoint.replace("://", "://me:hush@")})
    assert "hush" not in str(caught.value)
