#!/bin/sh
# Makes a plain Debian boot as a machine in a container. Run by mmdebstrap with the new root as $1,
# or inside the image with "/".
set -eu
root="$1"

# What needs hardware, a kernel of its own or the network of a real machine.
for unit in getty.target console-getty.service systemd-udevd.service systemd-udev-trigger.service \
    systemd-modules-load.service systemd-networkd.service systemd-networkd-wait-online.service \
    systemd-journald-audit.socket sys-kernel-debug.mount sys-kernel-tracing.mount \
    proc-sys-fs-binfmt_misc.automount run-rpc_pipefs.mount nfs-blkmap.service rpcbind.service \
    rpcbind.socket apt-daily.timer apt-daily-upgrade.timer fstrim.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service ssh.service ssh.socket \
    systemd-firstboot.service systemd-logind.service cloud-init-hotplugd.socket; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
rm -f "$root"/etc/systemd/system/*.wants/ssh.service "$root"/etc/systemd/system/sshd.service

# The image's own user, as on Ubuntu; who is in the group docker may use Docker.
chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 --groups docker ubuntu

# Reboots take what a container leaves time for.
mkdir -p "$root/etc/systemd/system.conf.d"
printf '[Manager]\nDefaultTimeoutStopSec=10s\n' >"$root/etc/systemd/system.conf.d/timeouts.conf"

cat >"$root/etc/cloud/cloud.cfg.d/90_sandbox.cfg" <<'CONFIG'
#cloud-config
datasource_list: [Ec2]
network: {config: disabled}
output: {all: '| tee -a /var/log/cloud-init-output.log /etc/graphistry-sandbox/console.log'}
cloud_init_modules: [bootcmd, write-files]
cloud_config_modules: [runcmd]
cloud_final_modules:
  [scripts-vendor, scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, final-message]
CONFIG

# What no machine needs.
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*

rm -f "$root"/etc/ssh/ssh_host_*_key*
: >"$root/etc/machine-id"
