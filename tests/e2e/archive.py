"""An archive of packages made here, as a folder on a lab host: what apt and dpkg do with them is real."""

ARCHIVE = "/opt/archive"
SOURCE = f"deb [trusted=yes] copy:{ARCHIVE} ./\n"
"""Its line for apt."""


def package(
    name: str, version: str, *, depends: str = "", script: str = "", files: dict[str, str] | None = None
) -> str:
    """Commands that put a package into the archive; `script` runs when it is configured."""
    folder = f"/tmp/build/{name}_{version}"
    control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: a test\nDescription: a test's\n"
    control += f"Depends: {depends}\n" if depends else ""
    commands = [put(f"{folder}/DEBIAN/control", control)]
    if script:
        commands.append(put(f"{folder}/DEBIAN/postinst", script, "755"))
    for path, text in (files or {}).items():
        commands.append(put(f"{folder}{path}", text))
        if path.startswith("/etc/"):
            commands.append(put(f"{folder}/DEBIAN/conffiles", f"{path}\n"))
    return "".join([*commands, f"sudo dpkg-deb --build --root-owner-group {folder} {ARCHIVE}/ >/dev/null\n"])


def put(path: str, text: str, mode: str = "644") -> str:
    return f"sudo install -D -m {mode} /dev/stdin {path} <<'TEXT'\n{text}TEXT\n"


def index() -> str:
    """apt-ftparchive is not on a small host: what it would write."""
    return (
        f"cd {ARCHIVE} && for file in *.deb; do sudo dpkg-deb -f $file; echo Filename: ./$file; "
        "echo Size: $(stat -c %s $file); echo SHA256: $(sha256sum $file | cut -d' ' -f1); echo; done "
        "| sudo tee Packages >/dev/null\n"
    )
