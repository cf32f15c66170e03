# The servers of leases are the agent's upstreams; /etc/resolv.conf stays as it is.
if [ -e /etc/skydns/resolv-conf.state ]; then
    skydns_note() {
        skydns_file="/run/skydns-upstreams/$interface.$1"
        shift
        if [ $# = 0 ]; then
            rm -f "$skydns_file"
        elif mkdir -p /run/skydns-upstreams; then
            (
                umask 022
                for skydns_server; do
                    case "$skydns_server" in fe80:*) skydns_server="$skydns_server%$interface" ;; esac
                    echo "nameserver $skydns_server"
                done > "$skydns_file.new"
                mv -f "$skydns_file.new" "$skydns_file"
            )
        fi
    }
    # It is called at each lease.
    make_resolv_conf() {
        # shellcheck disable=SC2086,SC2154
        case "$reason" in
            *6) skydns_note dhclient6 $new_dhcp6_name_servers ;;
            *) skydns_note dhclient $new_domain_name_servers ;;
        esac
    }
    # shellcheck disable=SC2154
    case "$reason" in
        EXPIRE | FAIL | RELEASE | STOP) skydns_note dhclient ;;
        EXPIRE6 | RELEASE6 | STOP6) skydns_note dhclient6 ;;
    esac
fi
