#!/bin/busybox sh
# The guest's first process: mount the machine's files, a tmpfs above them, and go there.
# /mod has the modules for that in the order of loading; the share "job" is host folder of this run.
b=/bin/busybox
die() { echo "init: $*" >/dev/console; $b poweroff -f; }

$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "/mod/$module" || die "insmod $module"; done </mod/order

options=trans=virtio,version=9p2000.L,msize=512000
$b mount -t 9p -o "$options,ro,cache=loose" machine /machine || die "no machine files"
$b mount -t tmpfs -o size=75% written /written
$b mkdir /written/upper /written/work
$b mount -t overlay -o lowerdir=/machine,upperdir=/written/upper,workdir=/written/work root /root ||
    die "no overlay"
for kind in proc sys dev; do $b mount -o move /$kind /root/$kind; done
$b mount -t tmpfs run /root/run
$b mkdir -p /root/run/lock /root/run/netns /root/run/job /root/lib/modules
$b mount -t 9p -o "$options" job /root/run/job || die "no job"
read -r modules </root/run/job/modules
$b mount -o bind "/root$modules" /root/lib/modules || die "no modules"
exec $b switch_root /root /bin/sh /run/job/guest.sh
