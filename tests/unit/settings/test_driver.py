"""The key `driver` of a pool: what it takes, and what it says of the rest."""

from pathlib import Path
from typing import Any

import pytest

from slipway.settings.errors import SettingsError
from slipway.settings.load import check_files, parse
from tests.unit.settings.documents import changed, good, with_changes

FINGERPRINT = "EB693B3035CD5710E231E123A4B469963BF863CC"
MIRROR = {"source": "mirror", "mirror_url": "https://m.test/x", "key_file": "k.asc", "key_fingerprint": FINGERPRINT}


def parsed(**keys: Any) -> Any:
    return parse(with_changes(good(), ("pools.main.gpu", "l4"), ("pools.main.driver", keys)), "s").pools["main"].driver


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"source": "vendor", "branch": 580, "version": "580.173.02"},
        {"source": "present"},
        {"source": "vendor", "key_file": "k.asc", "key_fingerprint": FINGERPRINT.lower()},
        MIRROR,
        {"source": "vendor", "dcgm": True, "clocks_mhz": [1200, 1740]},
        {"clocks_mhz": [1410, 1410]},
        {"modules": "proprietary", "reboot": False, "persistence": False},
        {"power_limit_w": 300, "clocks_mhz": [1200, 1740]},
    ],
)
def test_good(keys: dict[str, Any]) -> None:
    assert parsed(**keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"branch": "open"}, "driver.branch: "),
        ({"branch": True}, "driver.branch: "),
        ({"version": "580"}, "driver.version: "),
        ({"source": "runfile"}, "driver.source: "),
        ({"power_limit_w": 0}, "driver.power_limit_w: "),
        ({"clocks_mhz": [1740, 1200]}, "driver: clocks_mhz is [1740, 1200], and the first is the lowest; "),
        ({"clocks_mhz": [1740]}, "driver.clocks_mhz"),
        ({"mig": ["3g.40gb"]}, "driver: mig is no setting: engines are sized for whole GPUs and placed on them, "),
        ({"source": "present", "clocks_mhz": [1, 2]}, "driver: clocks_mhz is given while source is present; "),
        ({"source": "present", "power_limit_w": 9, "dcgm": True}, "driver: power_limit_w and dcgm are given while "),
        (
            {"persistence": False, "power_limit_w": 300},
            "driver: power_limit_w is given while persistence is false; the driver forgets it when the last program lets go of a "
            "GPU: leave persistence true, or remove power_limit_w",
        ),
        (
            {"persistence": False, "power_limit_w": 300, "clocks_mhz": [1200, 1740]},
            "driver: power_limit_w and clocks_mhz are given while persistence is false; the driver forgets them when ",
        ),
        ({"source": "distribution", "dcgm": True}, "driver: dcgm is true while source is distribution; "),
        (
            {"source": "mirror"},
            "driver: source is mirror, and mirror_url and key_file and key_fingerprint are missing; ",
        ),
        ({**MIRROR, "source": "vendor"}, "driver: mirror_url is given while source is not mirror; "),
        ({"key_file": "k.asc"}, "driver: key_file is given without key_fingerprint; any key would do: give both"),
        (
            {"source": "distribution", "key_fingerprint": FINGERPRINT},
            "driver: a key is given while source is distribution; ",
        ),
        ({**MIRROR, "key_fingerprint": "3BF863CC"}, "driver.key_fingerprint: "),
        ({**MIRROR, "mirror_url": "ftp://m"}, "driver.mirror_url: "),
        ({"branch": 580, "version": "595.91.07"}, "driver: version 595.91.07 is not of branch 580; "),
    ],
)
def test_bad(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parsed(**keys)
    (line,) = refused.value.problems
    assert line.startswith(f"slipway:platform.pools.main.{message}")
    assert "; " in line


def test_a_driver_without_gpus_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match="driver is given while there are 0 GPUs; nothing would use it"):
        parse(changed(good(), "pools.main.driver", {"branch": 580}), "s")


def test_a_key_that_is_not_there_is_told_before_anything_is_touched(tmp_path: Path) -> None:
    settings = parse(
        with_changes(
            good(),
            ("pools.main.gpu", "l4"),
            ("pools.main.driver", {**MIRROR, "key_file": str(tmp_path / "none.asc")}),
        ),
        "s",
    )
    with pytest.raises(SettingsError) as refused:
        check_files(settings, "s")
    assert any("pools.main.driver.key_file: " in line and "trusted" in line for line in refused.value.problems)
