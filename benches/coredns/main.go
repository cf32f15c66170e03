// CoreDNS, for the comparison: its own packages, built from their module.
package main

import (
	_ "github.com/coredns/coredns/core/plugin"

	"github.com/coredns/coredns/coremain"
)

func main() {
	coremain.Run()
}
