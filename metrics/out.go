package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrape is where a scrape's metrics go.
type scrape struct{ ch chan<- prometheus.Metric }

func (o scrape) gauge(d *prometheus.Desc, v float64, labels ...string) {
	o.send(d, prometheus.GaugeValue, v, labels)
}

func (o scrape) counter(d *prometheus.Desc, v float64, labels ...string) {
	o.send(d, prometheus.CounterValue, v, labels)
}

// send makes labels valid UTF-8 first: some come from the user, and the library
// refuses others.
func (o scrape) send(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels []string) {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "?")
	}
	o.ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
}

// optional sends a figure if there is one.
func (o scrape) optional(d *prometheus.Desc, v *float64, labels []string) {
	if v != nil {
		o.gauge(d, *v, labels...)
	}
}

func (o scrape) bytes(d *prometheus.Desc, v *uint64, labels []string) {
	if v != nil {
		o.gauge(d, float64(*v), labels...)
	}
}

func zeroOrOne(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
