// Package jepsen tests that a Cairn cluster keeps its promises while everything
// around it fails.
//
// Its parts, from the bottom up:
//
//	history    what clients asked, what they were told, and when
//	check      exact verdicts about a history: linear time, never "unknown"
//
// It imports the product; nothing of the product imports it.
package jepsen
