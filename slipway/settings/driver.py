"""The NVIDIA driver of a pool: which one, and where it comes from. What fits the GPUs is `slipway.deployment.drivers`' matter."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from slipway.settings.base import Section
from slipway.settings.types import LocalPath, PositiveCount, not_boolean

DriverSource = Literal["automatic", "vendor", "distribution", "mirror", "present"]
DriverVersion = Annotated[str, Field(pattern=r"^\d{3}\.\d{1,3}(\.\d{1,3})?$")]
"""As NVIDIA writes it, without what a distribution adds: `580.173.02`."""
DriverBranch = Annotated[int, BeforeValidator(not_boolean), Field(ge=100, le=999)]


def fingerprint(text: str) -> str:
    """A key's whole fingerprint in capitals without blanks; short ids of keys can be made by anybody."""
    plain = text.replace(" ", "").upper()
    if len(plain) not in {40, 64} or set(plain) - set("0123456789ABCDEF"):
        raise ValueError(
            "is no key's whole fingerprint, of 40 or 64 hexadecimal digits; a shorter one proves nothing: "
            "`gpg --show-keys --with-fingerprint FILE` shows it"
        )
    return plain


def repository(text: str) -> str:
    """The address of a package repository."""
    if not text.startswith(("https://", "http://")) or any(character.isspace() for character in text):
        raise ValueError("is no address of a repository; nothing could be fetched from it: use https://HOST/PATH")
    return text.rstrip("/") + "/"


Fingerprint = Annotated[str, AfterValidator(fingerprint)]
Repository = Annotated[str, AfterValidator(repository)]

DCGM_PORT = 9400
"""Where DCGM's exporter listens, as NVIDIA's package starts it."""


class Driver(Section):
    """The NVIDIA driver of a pool's machines. Slipway installs it, holds it against upgrades and reboots for it."""

    source: DriverSource = "automatic"
    """Where it comes from. `distribution`: the archive of the system, on Ubuntu with signed kernel modules; `vendor`: NVIDIA's
    repository for the system; `mirror`: the site's copy of that (`mirror_url`); `present`: somebody else installs it, and
    Slipway only looks. `automatic` is `distribution` on Ubuntu, and `vendor` on other systems."""
    branch: DriverBranch | None = None
    """A branch, such as 580. Default: that of `version`, else the one of the catalogue (`slipway drivers`) that goes with the
    GPUs and with the CUDA of every engine here."""
    version: DriverVersion | None = None
    """The exact version, such as 580.173.02. Default: the catalogue's version of the branch, or, from the distribution's archive,
    the newest that it has of the branch."""
    modules: Literal["open", "proprietary"] | None = None
    """The kind of kernel modules. Default: open, which all GPUs since Turing have, else proprietary."""
    mirror_url: Repository | None = None
    """The address of the site's copy of NVIDIA's repository for the system (for `mirror`), where `Packages` or `repodata` lie."""
    key_file: LocalPath | None = None
    """The repository's public key (ASCII), relative to the project's folder. `mirror` needs it; for `vendor` each host fetches it
    from the repository by default."""
    key_fingerprint: Fingerprint | None = None
    """The key's whole fingerprint; another key is refused. `mirror` needs it; for `vendor` the default is NVIDIA's."""
    reboot: bool = True
    """Whether a host is rebooted where another driver is loaded than is installed. If not, the `up` stops there and says so."""
    persistence: bool = True
    """Whether the driver keeps GPUs initialized while nobody uses them (nvidia-persistenced). `power_limit_w` and `clocks_mhz`
    need it."""
    power_limit_w: PositiveCount | None = None
    """A limit of each GPU's power, in W, set at every boot. Default: as shipped."""
    clocks_mhz: tuple[PositiveCount, PositiveCount] | None = None
    """The lowest and the highest clock of each GPU's multiprocessors, in MHz, locked at every boot: `[1200, 1740]`; twice the
    same for one clock. Default: as shipped."""
    dcgm: bool = False
    """Whether NVIDIA's DCGM and its exporter of metrics are installed, which NVIDIA's repository has (`vendor`, `mirror`). The
    exporter listens on the host itself alone, at port 9400."""

    @model_validator(mode="after")
    def _mirror_is_whole(self) -> Self:
        given = {"mirror_url": self.mirror_url, "key_file": self.key_file, "key_fingerprint": self.key_fingerprint}
        missing = [name for name, value in given.items() if value is None]
        if self.source == "mirror" and missing:
            raise ValueError(
                f"source is mirror, and {' and '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} missing; its packages could not be trusted: give all three"
            )
        if self.source != "mirror" and self.mirror_url is not None:
            raise ValueError("mirror_url is given while source is not mirror; it would not be used: set source: mirror")
        if self.source in {"distribution", "present"} and (self.key_file or self.key_fingerprint):
            raise ValueError(
                f"a key is given while source is {self.source}; it would not be used: remove key_file and key_fingerprint"
            )
        if self.key_file is not None and self.key_fingerprint is None:
            raise ValueError("key_file is given without key_fingerprint; any key would do: give both")
        return self

    @model_validator(mode="before")
    @classmethod
    def _no_mig(cls, value: Any) -> Any:
        if isinstance(value, dict) and "mig" in value:
            raise ValueError(
                "mig is no setting: engines are sized for whole GPUs and placed on them, and one on a part would find less "
                "memory than it was given; to share a GPU between models, give each `gpus: 1` and a part of it with its engine's "
                "share of memory (vLLM: `engine.gpu_memory_utilization`); GPUs that have to stay cut are not for these hosts: "
                "leave them out of the pool"
            )
        return value

    @model_validator(mode="after")
    def _clocks_ascend(self) -> Self:
        if self.clocks_mhz is not None and self.clocks_mhz[0] > self.clocks_mhz[1]:
            raise ValueError(
                f"clocks_mhz is {list(self.clocks_mhz)}, and the first is the lowest; the GPUs would refuse it: turn them round"
            )
        return self

    @model_validator(mode="after")
    def _settings_last(self) -> Self:
        lost = [name for name in ("power_limit_w", "clocks_mhz") if getattr(self, name) is not None]
        if lost and not self.persistence and self.source != "present":
            raise ValueError(
                f"{' and '.join(lost)} {'is' if len(lost) == 1 else 'are'} given while persistence is false; the driver forgets "
                f"{'it' if len(lost) == 1 else 'them'} when the last program lets go of a GPU: leave persistence true, or remove "
                f"{' and '.join(lost)}"
            )
        return self

    @model_validator(mode="after")
    def _settings_are_ours(self) -> Self:
        given = {"power_limit_w": self.power_limit_w, "clocks_mhz": self.clocks_mhz, "dcgm": self.dcgm or None}
        unused = [name for name, value in given.items() if value is not None]
        if self.source == "present" and unused:
            raise ValueError(
                f"{' and '.join(unused)} {'is' if len(unused) == 1 else 'are'} given while source is present; Slipway would not "
                "set it: let Slipway install the driver, or set it where that is done"
            )
        if self.source == "distribution" and self.dcgm:
            raise ValueError(
                "dcgm is true while source is distribution; no distribution has DCGM: set source to vendor or mirror, or "
                "remove dcgm"
            )
        return self

    @model_validator(mode="after")
    def _version_is_of_the_branch(self) -> Self:
        if self.version is not None and self.branch not in {None, int(self.version[:3])}:
            raise ValueError(
                f"version {self.version} is not of branch {self.branch}; which one is meant can't be told: remove one of them"
            )
        return self
