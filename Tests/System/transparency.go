// Verifies what customerd publishes with golang.org/x/mod/sumdb: checkpoints, proofs and a directory of tiles.
//
// usage: transparency tiles DIR VKEY [OLD-CHECKPOINT]   every tile, every entry, consistency with the older checkpoint
//
//	transparency proof FILE ENTRY-HASH VKEY        a tlog-proof of the entry with this hash
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "transparency:", err)
		os.Exit(1)
	}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	check(err)
	return data
}

// open verifies the signature of a checkpoint and returns its tree.
func open(text []byte, vkey string) tlog.Tree {
	verifier, err := note.NewVerifier(vkey)
	check(err)
	opened, err := note.Open(text, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], verifier.Name()+"/") {
		check(fmt.Errorf("not a checkpoint: %q", opened.Text))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)
	return tlog.Tree{N: size, Hash: root}
}

// directory reads the tiles of C2SP tlog-tiles.
type directory struct {
	path string
	read map[string]bool
}

func (d *directory) Height() int { return 8 }

func (d *directory) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

func (d *directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		// Go's paths begin with the height of the tiles, which C2SP leaves out.
		name := strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(d.path, "tile", name))
		if err != nil {
			return nil, err
		}
		d.read[filepath.Join("tile", name)] = true
		all = append(all, data)
	}
	return all, nil
}

func verifyTiles(path, vkey, old string) {
	tree := open(read(filepath.Join(path, "checkpoint")), vkey)
	tiles := &directory{path, map[string]bool{}}
	reader := tlog.TileHashReader(tree, tiles)
	for start := int64(0); start < tree.N; start += 256 {
		width := int(min(256, tree.N-start))
		bundle := tlog.Tile{H: 8, L: -1, N: start / 256, W: width}
		name := "tile/entries/" + strings.TrimPrefix(bundle.Path(), "tile/8/data/")
		data := read(filepath.Join(path, name))
		tiles.read[filepath.FromSlash(name)] = true
		for index := start; index < start+int64(width); index++ {
			length := int(binary.BigEndian.Uint16(data))
			leaf := tlog.RecordHash(data[2 : 2+length])
			data = data[2+length:]
			hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
			check(err)
			if hashes[0] != leaf {
				check(fmt.Errorf("entry %d isn't the leaf of its tile", index))
			}
			if index%97 == 0 || index+1 == tree.N {
				proof, err := tlog.ProveRecord(tree.N, index, reader)
				check(err)
				check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf))
			}
		}
		if len(data) != 0 {
			check(fmt.Errorf("%s has more than its entries", name))
		}
	}
	if old != "" {
		before := open(read(old), vkey)
		proof, err := tlog.ProveTree(tree.N, before.N, reader)
		check(err)
		check(tlog.CheckTree(proof, tree.N, tree.Hash, before.N, before.Hash))
	}
	// Tiles that no proof needed are read for themselves.
	for _, tile := range tlog.NewTiles(8, 0, tree.N) {
		// Some versions list a partial tile of each width; the tree has the widest.
		if int64(tile.W) != min(256, tree.N>>uint(8*tile.L)-tile.N*256) {
			continue
		}
		data, err := tlog.ReadTileData(tile, reader)
		check(err)
		name := filepath.Join("tile", strings.TrimPrefix(tile.Path(), "tile/8/"))
		if !bytes.Equal(data, read(filepath.Join(path, name))) {
			check(fmt.Errorf("%s isn't what the tree has there", name))
		}
		tiles.read[name] = true
	}
	check(filepath.Walk(path, func(file string, info os.FileInfo, err error) error {
		check(err)
		name, err := filepath.Rel(path, file)
		check(err)
		if !info.IsDir() && name != "checkpoint" && !tiles.read[name] {
			return fmt.Errorf("%s isn't a tile of the tree", name)
		}
		return nil
	}))
	fmt.Printf("%d entries and %d files verified\n", tree.N, len(tiles.read))
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

func verifyProof(path, entry, vkey string) {
	parts := strings.SplitN(string(read(path)), "\n\n", 2)
	lines := strings.Split(parts[0], "\n")
	if len(parts) != 2 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
		check(fmt.Errorf("%s isn't a tlog-proof", path))
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	check(err)
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		data, err := base64.StdEncoding.DecodeString(line)
		check(err)
		var hash tlog.Hash
		copy(hash[:], data)
		proof = append(proof, hash)
	}
	tree := open([]byte(parts[1]), vkey)
	data, err := hex.DecodeString(entry)
	check(err)
	check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(data)))
	fmt.Printf("entry %d is in the tree of %d\n", index, tree.N)
}

func main() {
	switch {
	case len(os.Args) >= 4 && os.Args[1] == "tiles":
		old := ""
		if len(os.Args) > 4 {
			old = os.Args[4]
		}
		verifyTiles(os.Args[2], os.Args[3], old)
	case len(os.Args) == 5 && os.Args[1] == "proof":
		verifyProof(os.Args[2], os.Args[3], os.Args[4])
	default:
		check(fmt.Errorf("see the head of transparency.go"))
	}
}
