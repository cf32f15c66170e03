// Go's own resolver. Reads "TYPE NAME ADDRESS" lines, prints "MS OUTCOME" lines; see Outcome::read.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

func ask(kind, name, address string) ([]string, bool, error) {
	resolver := &net.Resolver{PreferGo: true}
	ctx := context.Background()
	var found []string
	ips := func(network string) error {
		all, err := resolver.LookupIP(ctx, network, name)
		for _, one := range all {
			found = append(found, one.String())
		}
		return err
	}
	var err error
	switch kind {
	case "A":
		err = ips("ip4")
	case "AAAA":
		err = ips("ip6")
	case "ADDR":
		err = ips("ip")
	case "TXT":
		found, err = resolver.LookupTXT(ctx, name)
	case "PTR":
		found, err = resolver.LookupAddr(ctx, address)
	case "MX":
		var all []*net.MX
		all, err = resolver.LookupMX(ctx, name)
		for _, one := range all {
			found = append(found, fmt.Sprintf("%d %s", one.Pref, one.Host))
		}
	case "SRV":
		var all []*net.SRV
		_, all, err = resolver.LookupSRV(ctx, "", "", name)
		for _, one := range all {
			found = append(found, fmt.Sprintf("%d %d %d %s", one.Priority, one.Weight, one.Port, one.Target))
		}
	case "NS":
		var all []*net.NS
		all, err = resolver.LookupNS(ctx, name)
		for _, one := range all {
			found = append(found, one.Host)
		}
	default:
		return nil, false, nil
	}
	return found, true, err
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		part := strings.Fields(lines.Text())
		begun := time.Now()
		found, asked, err := ask(part[0], part[1], part[2])
		out := "data " + strings.Join(found, "|")
		var failure *net.DNSError
		switch {
		case !asked:
			out = "notasked"
		case errors.As(err, &failure) && failure.IsNotFound:
			out = "nothing"
		case err != nil:
			out = "failure " + err.Error()
		case len(found) == 0:
			out = "nothing"
		}
		fmt.Println(time.Since(begun).Milliseconds(), out)
	}
}
