# The servers of leases are the agent's upstreams; /etc/resolv.conf stays as it is.
skydns_resolvconf()
{
	skydns_file="/run/skydns-upstreams/$2.dhcpcd"
	case "$1" in
	-a)	mkdir -p /run/skydns-upstreams &&
		(umask 022; grep '^nameserver ' > "$skydns_file.new"; mv -f "$skydns_file.new" "$skydns_file") ;;
	-d)	rm -f "$skydns_file" ;;
	esac
}
if [ -e /etc/skydns/resolv-conf.state ]; then
	resolvconf=skydns_resolvconf
fi
