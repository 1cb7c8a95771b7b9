// Package observe tests what is shipped for those who watch the operator: rules, runbooks and the dashboard, with the real
// promtool, Prometheus and Chromium.
package observe
