// SPDX-License-Identifier: Apache-2.0
//
// kube-apiserver as it is released, built from its published modules so that the tests can run
// against a real one. It must not contain anything of its own: what is tested against has to be
// what clusters run.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}
