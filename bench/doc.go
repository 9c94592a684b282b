// Gxbench compares gxswitch with the kernel bridge, and both with no switch at
// all, on links of its own between namespaces of its own.
//
//	gxbench -gxswitch bin/gxswitch            everything, most of an hour
//	gxbench -gxswitch bin/gxswitch -quick     two minutes
//	gxbench -run 'throughput|tcp' -arms direct,bridge,afpacket -rounds 9
//
// Read in this order: main.go (flags), run.go (who is asked what, and when),
// check.go (what must hold before a figure is believed), then the packages:
//
//	rig      namespaces, links, and the arms that take turns on them
//	traffic  senders and receivers
//	measure  the questions, one small type a file
//	stat     medians, ratios, searches
//	machine  facts, processor time, memory
//	report   results.json, table, HTML, Markdown
//
// It needs root. Everything it makes goes when it ends, also by Ctrl-C.
package main
