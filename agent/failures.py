"""Every way in which a node can fail, by a stable code, with what to do about it.

docs/failures.md has the same codes with cause and remedy at length; a test compares the two.
"""

from __future__ import annotations

from typing import Sequence

HINTS = {
    # bootstrap
    "SpecificationUnavailable": "check the node's route to S3, its role, and that the object exists",
    "AgentUnavailable": "run `make up` again: it stores the agent's archive",
    "AgentChecksumMismatch": "run `make up` again: it stores the agent and its checksum together",
    "AgentInstallFailed": "read the log lines; the machine needs systemd and Python 3.8 or newer",
    "BootstrapCrashed": "a defect of the agent: report it with the message",
    # the agent itself
    "AgentCrashed": "a defect of the agent: report it with the log lines",
    "SpecificationInvalid": "run `make up` with the version of the program that this agent belongs to",
    # preflight
    "OsUnsupported": "use Ubuntu 22.04 or 24.04, the Deep Learning AMI, or Amazon Linux 2023",
    "DiskSpaceLow": "give the GPU profile a bigger disk",
    "DockerMissing": "use an image that has Docker and its compose plugin",
    "DockerUnavailable": "read `journalctl -u docker` on the node",
    "DockerConfigInvalid": "mend /etc/docker/daemon.json on the node: it is not a JSON object",
    "NvidiaRuntimeMissing": "install nvidia-container-toolkit, or use an image that has it",
    "GpuUnavailable": "reboot the node; if the driver was just updated, that is enough",
    "GpuMissing": "stop and start the instance (it moves to other hardware), or change the GPU profile",
    "DriverTooOld": "use an image with a newer NVIDIA driver, or the release's other CUDA flavour",
    "ClockSkewed": "let chrony or systemd-timesyncd reach a time server, for example 169.254.169.123",
    # disks
    "DataVolumeMissing": "check that the volume is attached to this instance (`make show`, AWS console)",
    "DataVolumeForeign": "nothing was changed on it: attach the cluster's volume, or an empty one",
    "DataVolumeUnusable": "read the log lines; restore the volume from a snapshot if it is damaged",
    "LocalDiskUnusable": "look at the disk on the node, or terminate the machine: `make up` brings another",
    # shared folder
    "EfsUtilsMissing": "use an image with amazon-efs-utils, or let the node reach amazon-efs-utils.aws.com",
    "SharedFolderUnmounted": "check the mount targets, the security groups on 2049 and the file-system policy",
    "SharedFolderForeign": "point sharedFolder at this cluster's file system; nothing was changed on it",
    "SharedFolderUnclaimed": "bring the leader up first: it marks the shared folder as this cluster's",
    "SharedFolderFull": "delete data sets, or raise what limits the file system",
    "SharedFolderReadOnly": "check that the file-system policy lets the node's role write as root",
    # secret
    "SecretUnavailable": "check the node's role, and its route to Secrets Manager",
    "SecretNotFilled": "bring the leader up first: it fills the secret",
    "SecretInvalid": "restore the secret's previous version (AWSPREVIOUS): data is encrypted with it",
    # release
    "ReleaseMissing": "use an image that has Graphistry, or set release.source to an archive",
    "ReleaseVersionMismatch": "set release.version and release.cuda to what is there, or use another image",
    "ReleaseUnavailable": "check release.source, and that the node's role may read it",
    "ReleaseDownloadCut": "check the node's network; the agent tries again",
    "ReleaseChecksumMismatch": "compare release.sha256 with the vendor's; store the archive again",
    "ReleaseArchiveInvalid": "store the archive again as the vendor delivers it",
    "ReleaseArchiveUnsafe": "do not use this archive: it would write outside its own folder",
    "DecompressorMissing": "install zstd on the image, or deliver the archive as .tar.gz",
    "ImagesLoadFailed": "read the log lines and `journalctl -u docker` on the node",
    "DiskFull": "give the GPU profile a bigger disk, or free space on the node; the agent tries again",
    # configure
    "ComposeConfigUnreadable": "read the log lines; the release's compose files may be damaged",
    "ComposeOverrideForeign": "move docker-compose.override.yml of the release away: the agent needs its place",
    "ComposeOverrideIgnored": "this release does not read docker-compose.override.yml: use a supported one",
    "ConfigurationIgnored": "remove the variable from the release's other configuration files",
    # start
    "LeaderUnreachable": "bring the leader up; check the security group on 5432",
    "ServicesNotStarted": "read the log lines",
    "ServiceUnhealthy": "read the service's log lines; a GPU service points to driver or runtime",
    "UserCreationFailed": "read the log lines; nexus must be healthy and its database migrated",
}


class Failure(Exception):  # noqa: N818, the word of the report
    """Something that keeps the node from being what it should be; the message never holds a secret."""

    def __init__(
        self, code: str, message: str, log: Sequence[str] = (), hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.log = list(log)
        self.hint = hint or HINTS[code]
