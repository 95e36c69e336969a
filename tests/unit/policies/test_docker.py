"""Containers that a machine's script starts."""

import pytest

from policies.node import Secret
from policies.readers.scripts.docker import HostContainer, runs
from policies.resources import Resource


def started(script: str) -> list[HostContainer]:
    return list(runs(Resource.plain("aws:ec2/instance:Instance", "it", {"userData": script})))


@pytest.mark.parametrize(
    ("script", "image", "words", "published"),
    [
        ("docker run -d --gpus all -p 8000:8000 a/b:1 --model m", "a/b:1", ["--model", "m"], True),
        ("sudo docker run --rm -dit -p8000:8000 --restart=always a/b:1", "a/b:1", [], True),
        ("docker run -p127.0.0.1:8000:8000 a/b:1 m", "a/b:1", ["m"], False),
        ("docker run --network llm a/b:1", "a/b:1", [], False),
        ("docker container run --privileged --net host a/b:1 m", "a/b:1", ["m"], True),
        ("podman run -P --name x a/b:1", "a/b:1", [], False),
        ("docker run -p 127.0.0.1:8000:8000 a/b:1", "a/b:1", [], False),
        ("/usr/bin/nerdctl -n k8s.io run --ipc=host a/b:1", "a/b:1", [], False),
        ("ctr -n k8s.io run --rm --net-host --env A=1 a/b:1 name serve m", "a/b:1", ["serve", "m"], True),
        ("docker run -e KEY=$(cat /key) -e B=`id` a/b:1 m", "a/b:1", ["m"], False),
        ("bash -c 'docker run \\\n  -v /m:/m a/b:1 m'", "a/b:1", ["m"], False),
    ],
)
def test_its_image_and_words(script: str, image: str, words: list[str], published: bool) -> None:
    (one,) = started(script)
    assert (one.get("image"), one.get("args", default=[]), one.published) == (image, words, published)
    assert (one.path, one.at("image"), one.node("image").path) == ("userData", "userData", "userData")


@pytest.mark.parametrize(
    "script", ["docker pull a/b:1", "docker run", "docker run -p", "docker run -p 1:1", "echo run docker"]
)
def test_nothing_is_started(script: str) -> None:
    assert started(script) == []


def test_its_environment() -> None:
    (one,) = started("docker run -e A=1 --env=B=$B -e C --env-file /etc/env --entrypoint sh a/b:1 -c x")
    env = [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {}}, {"name": "C", "valueFrom": {}}]
    assert (one.get("env"), one.get("command")) == (env, ["sh"])
    assert one.get("envFrom") == [{"secretRef": {"name": "/etc/env"}}]


def test_what_a_secret_script_starts_is_secret() -> None:
    script = Secret("docker run -e KEY=k a/b:1 --api-key k")
    (one,) = runs(Resource.plain("aws:ec2/instance:Instance", "it", {"userData": script}))
    assert (one.get("image"), one.show("image"), one.show("args"), one.name) == (
        *("a/b:1", "[secret]", "[secret]", "docker run"),
    )
