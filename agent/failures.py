"""Every way in which a node can fail, by a stable code, with what to do about it.

docs/reference/failure-codes.md has the same codes with cause and remedy at length; a test compares the two.
"""

from __future__ import annotations

from typing import Sequence

HINTS = {
    # bootstrap
    "SpecificationUnavailable": "check the node's route to S3, its role, and that the object exists",
    "AgentUnavailable": "run `./cluster up` again: it brings the agent's archive",
    "AgentChecksumMismatch": "run `./cluster up` again: it brings the agent and its checksum together",
    "AgentInstallFailed": "read the log lines; the machine needs systemd and Python 3.8 or newer",
    "BootstrapCrashed": "a defect of the agent: report it with the message",
    # the agent itself
    "AgentCrashed": "a defect of the agent: report it with the log lines",
    "SpecificationInvalid": "run `./cluster up` with the version of the program that this agent belongs to",
    # delivery to a host
    "DeliveryBusy": "wait for the other `./cluster up` or `./cluster down` to end, then run yours again",
    "HostTaken": "destroy the host's present node with its own stack, or take the host out of this one",
    "DataServicesForeign": "put dataServices.kind back, or take the data along as docs/how-to/deploy-on-hosts.md "
    "describes",
    "ServicesNotEnded": "start Docker on the host (`systemctl start docker`), then run the same command again",
    "AgentStopped": "read the log lines; `systemctl status graphistry-cluster-agent` on the host says more",
    "GuestsRefused": "name the leader's host, and give IPv4 addresses",
    # preflight
    "OsUnsupported": "use Ubuntu 22.04 or 24.04, the Deep Learning AMI, or Amazon Linux 2023",
    "AddressMissing": "set the host's privateAddress to an address that `ip address` shows on it",
    "DiskSpaceLow": "give the node a bigger disk (AWS: in its GPU profile), or free space on it",
    "DockerMissing": "install Docker with its compose plugin, or use an image that has them",
    "ComposeTooOld": "install the package docker-compose-plugin on the node, or use an image with a newer one",
    "DockerUnavailable": "read `journalctl -u docker` on the node",
    "DockerConfigInvalid": "fix /etc/docker/daemon.json on the node: it is not a JSON object",
    "NvidiaRuntimeMissing": "install nvidia-container-toolkit, or use an image that has it",
    "GpuUnavailable": "reboot the node; if the driver was just updated, that is enough",
    "GpuMissing": "AWS: stop and start the instance (it moves to other hardware); else fix the host or its GPU profile",
    "GpuPartitioned": "switch MIG off: `nvidia-smi -mig 0` as root on the node, then reboot it",
    "GpuUnhealthy": "read docs/reference/failure-codes.md: what helps depends on what the driver reports",
    "GpuThrottled": "check the machine's cooling and power supply; AWS: stop and start the instance",
    "FabricManagerDown": "read `journalctl -u nvidia-fabricmanager`; its version must be the driver's",
    "DriverTooOld": "bring a newer NVIDIA driver, or use the release's other CUDA flavour",
    "ClockSkewed": "let chrony or systemd-timesyncd reach a time server; on AWS 169.254.169.123",
    # disks
    "DataVolumeMissing": "check that the volume is attached to this instance (`./cluster status`, AWS console)",
    "DataVolumeForeign": "nothing was changed on it: use the cluster's own volume or folder, or an empty one",
    "DataVolumeUnusable": "read the log lines; a damaged disk is replaced by one from a snapshot or backup",
    "DiskAlmostFull": "free space on it, or give it more: nothing is deleted or replaced for it",
    "LocalDiskUnusable": "look at the disk on the node, or terminate the machine: `./cluster up` brings another",
    # tunnel
    "TunnelUnavailable": "install wireguard-tools, on a kernel with WireGuard (5.6 or newer); read the log lines",
    "TunnelNotExchanged": "run `./cluster up`: it carries the public keys between the leader and its followers",
    "TunnelPeerRefused": "run `./cluster up` with the version of the program that this agent belongs to",
    "TunnelChanged": "nothing: the agent connects it anew; see what else uses `ip` or `wg` on the host",
    "TunnelDown": "let UDP 51820 pass between the two hosts, then run `./cluster up`: it carries the keys again",
    # shared folder
    "EfsUtilsMissing": "name its package in image.mountHelper, use an image with amazon-efs-utils, or let the node "
    "reach amazon-efs-utils.aws.com",
    "EfsUtilsChecksumMismatch": "compare image.mountHelper with the package that you stored",
    "NfsUtilsMissing": "install nfs-common (Ubuntu) or nfs-utils on the host, or give it a package mirror",
    "NfsServerUnavailable": "read the log lines; the leader needs nfs-kernel-server (Ubuntu) or nfs-utils",
    "ExportsChanged": "nothing: the agent exports it anew; see who else writes to /etc/exports.d on the leader",
    "SharedFolderUnmounted": "check the file server and the way to its port 2049 (security groups, firewalls)",
    "SharedFolderDenied": "EFS: ClientMount in the node's role and the file-system policy; NFS: export it to this node",
    "SharedFolderNoSuchExport": "set sharedFolder's export to a path that the server has (`showmount -e SERVER`)",
    "SharedFolderNameUnknown": "check the name, its mount targets and the VPC's DNS support; hosts: /etc/resolv.conf",
    "SharedFolderTlsFailed": "read the log lines; /var/log/amazon/efs on the node says more, mostly of stunnel or OCSP",
    "SharedFolderForeign": "point sharedFolder at this cluster's own folder; nothing was changed on it",
    "SharedFolderUnclaimed": "bring the leader up first: it marks the shared folder as this cluster's",
    "SharedFolderFull": "delete data sets, or raise what limits the file system",
    "SharedFolderReadOnly": "let the node's root write there: by EFS's policy, or rw,no_root_squash of an export",
    "SharedFolderUnsafe": "see on another node who made the link (`ls -l`), and remove it: root follows none there",
    "NodeFolderTaken": "end the node's other machine; if it is gone for good, restart graphistry-cluster-agent here",
    # secret
    "SecretUnavailable": "AWS: `./cluster up`, then the node's role and route to AWS; hosts: the disk of /var/lib",
    "SecretNotFilled": "bring the leader up first: it makes the secret",
    "SecretInvalid": "restore its first version (AWSPREVIOUS, or the leader's file): data is encrypted with it",
    "SecretEnvUnavailable": "run `./cluster up`: it writes them; on AWS see the node's role and its route to AWS",
    # firewall
    "FirewallUnavailable": "install nftables on the machine; read the log lines, a kernel may lack nf_tables",
    "FirewallChanged": "nothing: the agent closes it anew; see what on the host flushes nftables",
    # release
    "ReleaseMissing": "put the release where the message says, or set release.source to an archive",
    "ReleaseVersionMismatch": "set release.version and release.cuda to what is there, or bring another release",
    "ReleaseUnavailable": "check release.source, and that the node may read it; a file comes with `./cluster up`",
    "ReleaseUnreachable": "check the name in release.source, and the node's resolver, route, firewall and proxy to it",
    "ReleaseTlsRefused": "a proxy in between may open TLS: let the source pass, or give the node its certificate",
    "ReleaseProxyRefused": "give the proxy credentials or let the source pass it",
    "ReleaseDownloadCut": "check the node's network; the agent tries again",
    "ReleaseChecksumMismatch": "compare release.sha256 with the vendor's; store or deliver the archive again",
    "ReleaseArchiveInvalid": "store the archive again as the vendor delivers it",
    "ReleaseArchiveUnsafe": "do not use this archive: it would write outside its own folder",
    "ReleaseDataNotCopied": "read the log lines; the earlier release and its data were kept, its services are ended",
    "ReleaseFileUnsafe": "put a plain file or folder there, as is due; see who made a link: root follows none there",
    "DecompressorMissing": "install zstd on the image, or deliver the archive as .tar.gz",
    "ImagesLoadFailed": "read the log lines and `journalctl -u docker` on the node",
    "DiskFull": "give the node a bigger disk, or free space on it; the agent tries again",
    # configure
    "ComposeConfigUnreadable": "read the log lines; the release's compose files may be damaged",
    "ComposeOverrideIgnored": "see which compose file of the release comes after the one that the message names",
    "ConfigurationIgnored": "remove the variable from the release's other configuration files",
    "ServicesUnknown": "use a release whose services have the vendor's documented names",
    "DatabaseElsewhere": 'dump the database and read it in: docs/reference/failure-codes.md, "A database elsewhere"',
    "ConnectedElsewhere": "find what in the release sets that service's REDIS_URL or POSTGRES_HOST, and take it out",
    "PortsOpen": "bind the port to the node's private address, or take it out of the release's compose files",
    # start
    "LeaderUnreachable": "bring the leader up; check the way to its 5432 and 6379 (security groups, firewalls)",
    "DataServiceDown": "on the leader itself: see its check `services`, and `docker ps -a` for what does not run",
    "PostgresStarting": "wait: it starts, recovers or ends; if it stays so, read the log of postgres on the leader",
    "PostgresConnectionsExhausted": "fewer workersPerGpu or followers, or a higher max_connections of PostgreSQL",
    "PostgresLoginRefused": "28P01: its data have another password than the secret; 28000: pg_hba.conf",
    "PostgresDiskFull": "make room on the leader's data disk: raise leader.dataVolume.sizeGib, or free space there",
    "PostgresRefused": "look up the five characters in PostgreSQL's documentation, appendix A; read its log",
    "RedisStarting": "wait: it reads its data; if it stays so, read the log of redis on the leader",
    "RedisConnectionsExhausted": "CLIENT LIST says who is connected; fewer workers or followers, or more maxclients",
    "RedisLoginRefused": "Redis has another password or other users (ACL) than the secret: see who set requirepass",
    "RedisCannotSave": "read the log of redis on the leader; mostly a full disk, or a folder that it may not write",
    "RedisReadOnly": "this Redis is a replica: make it a master (REPLICAOF NO ONE), and see who made it one",
    "RedisMemoryFull": "raise maxmemory of the leader's Redis, or let it evict (maxmemory-policy)",
    "RedisRefused": "read what it says, and the log of redis on the leader",
    "ServicesNotStarted": "read the log lines",
    "ServiceUnhealthy": "read the service's log lines; a GPU service points to driver or runtime",
    "AdministratorMissing": "bring the leader up first: it makes the administrator",
    "AdministratorRefused": "read the log of nexus: it has made the user and does not let it in",
    "UserCreationFailed": "read the log lines; nexus must be healthy and its database migrated",
}


class NotProvenError(Exception):
    """It could not be seen whether all is well: neither fine nor a failure."""


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
