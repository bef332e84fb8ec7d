package node

import "strings"

// directorySuffix makes the origin of a cluster's directory from that of its first ledger.
const directorySuffix = "/directory"

// DirectoryOf returns the origin of the directory of a cluster whose first ledger has this origin.
func DirectoryOf(origin string) string { return origin + directorySuffix }

// CosignerName returns the name of a node's cosigner key in a cluster with this directory.
func CosignerName(directory, node string) string {
	return strings.TrimSuffix(directory, directorySuffix) + "/" + node
}
