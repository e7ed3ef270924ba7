# Needs AREA, an empty directory, and PACKAGE. Whatever is written goes into an overlay.
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs "$AREA"
mkdir "$AREA/upper" "$AREA/work" "$AREA/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$AREA/upper,workdir=$AREA/work" "$AREA/root"
root=$AREA/root
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
cp "$PACKAGE" "$root/tmp/midonet.deb"
ip link set lo up
url=http://127.0.0.1:8181/midonet-api

step() { echo "step: $*"; }
fail() {
    echo "FAILED: $*"
    tail -n 5 "$root"/tmp/*.log 2>&1 || true
    exit 1
}
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive
inside() { chroot "$root" "$@"; }
cli() { inside midonet-cli -A --midonet-url "$url" -e "$@"; }
wait_for() {
    what=$1
    shift
    for _ in $(seq 200); do
        if "$@" > "$AREA/said" 2>&1; then return 0; fi
        sleep 0.1
    done
    cat "$AREA/said"
    fail "$what"
}
# What lies outside of dpkg's own books, and is there.
written() {
    (cd "$AREA/upper" && find . -type f) |
        grep -v -e '^./tmp/' -e '^./var/lib/dpkg/' -e '^./var/log/' -e '^./var/cache/' \
            -e '^./usr/share/info/dir' -e '^./root/' | sort
}
alive() { cli host list | grep -q 'name box.*alive true'; }
# The machine behind the interface reaches the host's own stack.
reaches() { nsenter "--net=/proc/$guest/ns/net" ping -c 1 -W 1 192.0.2.1; }
reaches_not() { ! reaches; }

before=$(written)
step install
inside dpkg -i /tmp/midonet.deb || fail "it does not install"
inside midonet --version
inside midonet-cli --help > /dev/null
for file in usr/share/man/man1/midonet-agent.1.gz usr/share/bash-completion/completions/midonet-cli \
    usr/lib/systemd/system/midolman.service usr/lib/systemd/system/midonet-cluster.service \
    usr/lib/sysctl.d/60-midonet.conf etc/midolman/midolman.env; do
    [ -e "$root/$file" ] || fail "/$file is not installed"
done
[ "$(stat -c %a "$root/etc/midolman/midolman.env")" = 600 ] || fail "everyone reads the agent's options"

step start
chroot "$root" midonet cluster --root /var/lib/midonet/cluster --rest 127.0.0.1:8181 --nsdb 127.0.0.1:2346 \
    --insecure > "$root/tmp/cluster.log" 2>&1 &
cluster=$!
chroot "$root" midonet agent --root /var/lib/midonet/agent --name box --cluster http://127.0.0.1:2346 \
    --insecure > "$root/tmp/agent.log" 2>&1 &
agent=$!
wait_for "the host is not alive" alive

step bind
unshare --net sleep 300 &
guest=$!
wait_for "no namespace for the guest" sh -c "! [ /proc/$guest/ns/net -ef /proc/self/ns/net ]"
ip link add tap0 type veth peer name eth0 netns "$guest"
ip addr add 192.0.2.1/24 dev tap0
ip link set tap0 up
nsenter "--net=/proc/$guest/ns/net" sh -c 'ip addr add 192.0.2.2/24 dev eth0; ip link set eth0 up'
wait_for "the guest does not reach the host without MidoNet" reaches
bridge=$(cli bridge create name web)
port=$(cli bridge "$bridge" add port)
host=$(cli host list | sed -n 's/^host \([^ ]*\) .*/\1/p')
cli host "$host" add binding interface tap0 port "$port" > /dev/null
wait_for "the datapath's program is not on the interface" reaches_not
ip link show mn-vxlan > /dev/null || fail "there is no tunnel device"

step stop
kill "$agent"
wait "$agent" || fail "the agent does not stop cleanly"
reaches && fail "the datapath went with the agent"
kill "$cluster"
wait "$cluster" || fail "the cluster node does not stop cleanly"

step remove
inside dpkg --remove midonet || fail "it does not go"
wait_for "something of the datapath is left on the interface" reaches
if ip link show mn-vxlan 2> /dev/null; then fail "the tunnel device is left"; fi
if grep "$root.* bpf " /proc/self/mounts; then fail "a BPF file system is left"; fi
[ ! -e "$root/usr/bin/midonet" ] || fail "the program is left"
# Configuration, and what an administrator would miss: the database and who this host is.
left=$(written | grep -v -e '^./etc/midolman/midolman.env$' -e '^./etc/midonet-cluster/midonet-cluster.env$' \
    -e '^./var/lib/midonet/' || true)
[ "$left" = "$before" ] || fail "left after removal: $left"
[ -e "$root/var/lib/midonet/agent/host_id" ] || fail "who this host is went with the package"

step purge
inside dpkg --purge midonet || fail "it is not purged"
left=$(written)
[ "$left" = "$before" ] || fail "left after the purge: $left"
for directory in var/lib/midonet etc/midolman etc/midonet-cluster; do
    [ ! -e "$root/$directory" ] || fail "/$directory is left after the purge"
done
echo the end
