"""Why a shared folder was not mounted, from what the mount helpers really print."""

import pytest

from agent.folders.mount_errors import mount_failure

EFS = "fs-01234567.efs.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("b'mount.nfs4: access denied by server while mounting 127.0.0.1:/'", "SharedFolderDenied"),
        ("mount.nfs4: access denied by server while mounting 10.0.0.5:/data", "SharedFolderDenied"),
        ("mount.nfs4: Operation not permitted for 10.0.0.5:/data on /mnt", "SharedFolderDenied"),
        (
            "mount.nfs4: mounting 10.0.0.5:/data failed, reason given by server: No such file or directory",
            "SharedFolderNoSuchExport",
        ),
        (
            f'Failed to resolve "{EFS}" - check that your file system ID is correct, and ensure that the VPC has'
            " an EFS mount target for this file system ID.",
            "SharedFolderNameUnknown",
        ),
        (
            "mount.nfs4: Failed to resolve server files: Name or service not known",
            "SharedFolderNameUnknown",
        ),
        ("files.example: Temporary failure in name resolution", "SharedFolderNameUnknown"),
        ("Failed to initialize TLS tunnel for fs-01234567", "SharedFolderTlsFailed"),
        ("mount.nfs4: Connection timed out", "SharedFolderUnmounted"),
        ("mount.nfs4: Connection refused for 10.0.0.5:/data on /mnt", "SharedFolderUnmounted"),
        ("mnt.mount: Mount process exited, code=exited, status=32/n/a", "SharedFolderUnmounted"),
    ],
)
def test_each_has_its_own_code(line: str, code: str) -> None:
    found = mount_failure(
        "fs-01234567 could not be mounted", ["Mounting...", line, "Failed to mount"]
    )
    assert found.code == code
    assert found.log[1] == line
    if "status=32" not in line:
        assert found.message == f"fs-01234567 could not be mounted: {line}"


def test_the_newest_line_says_why() -> None:
    log = ["mount.nfs4: access denied by server while mounting 127.0.0.1:/"]
    log.append("mount.nfs4: Connection timed out")
    assert mount_failure("it", log).code == "SharedFolderUnmounted"
