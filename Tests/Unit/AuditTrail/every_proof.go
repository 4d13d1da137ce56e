// Judges proofs with golang.org/x/mod/sumdb/tlog: each as it is, which must also be the proof that tlog itself makes, and
// with one bit flipped. every_proof.py says what the files hold.
//
// tlog knows no tree without entries; that every tree continues it, with a proof of no hashes, is checked here.
package main

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "every_proof:", err)
		os.Exit(1)
	}
}

// tree holds the hashes of a growing tree, and its root at every size.
type tree struct {
	leaves, roots, stored []tlog.Hash
}

func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = t.stored[index]
	}
	return hashes, nil
}

func (t *tree) grow(size int64) {
	for n := int64(len(t.leaves)); n < size; n++ {
		data := []byte(strconv.FormatInt(n, 10))
		hashes, err := tlog.StoredHashes(n, data, t)
		check(err)
		t.stored = append(t.stored, hashes...)
		t.leaves = append(t.leaves, tlog.RecordHash(data))
		root, err := tlog.TreeHash(n+1, t)
		check(err)
		t.roots = append(t.roots, root)
	}
}

func (t *tree) root(size int64) tlog.Hash { return t.roots[size-1] }

// accepts tells whether tlog accepts a proof.
func (t *tree) accepts(kind byte, size, index int64, proof []tlog.Hash) bool {
	switch {
	case kind == 'i':
		return tlog.CheckRecord(proof, size, t.root(size), index, t.leaves[index]) == nil
	case index == 0:
		return len(proof) == 0
	default:
		return tlog.CheckTree(proof, size, t.root(size), index, t.root(index)) == nil
	}
}

// makes returns the proof that tlog makes.
func (t *tree) makes(kind byte, size, index int64) []tlog.Hash {
	if kind == 'i' {
		proof, err := tlog.ProveRecord(size, index, t)
		check(err)
		return proof
	}
	if index == 0 {
		return nil
	}
	proof, err := tlog.ProveTree(size, index, t)
	check(err)
	return proof
}

// wrong returns a proof with one bit flipped; where there is none to flip, with a hash that doesn't belong there.
func wrong(proof []tlog.Hash, other tlog.Hash) []tlog.Hash {
	if len(proof) == 0 {
		return []tlog.Hash{other}
	}
	changed := append([]tlog.Hash(nil), proof...)
	changed[rand.Intn(len(changed))][rand.Intn(32)] ^= 1 << uint(rand.Intn(8))
	return changed
}

func main() {
	rand.Seed(18)
	t := &tree{}
	accepted := map[byte]int{}
	refused := 0
	for _, path := range os.Args[1:] {
		data, err := os.ReadFile(path)
		check(err)
		for len(data) > 0 {
			kind := data[0]
			size := int64(binary.BigEndian.Uint32(data[1:]))
			index := int64(binary.BigEndian.Uint32(data[5:]))
			proof := make([]tlog.Hash, binary.BigEndian.Uint32(data[9:]))
			data = data[13:]
			for i := range proof {
				copy(proof[i][:], data)
				data = data[tlog.HashSize:]
			}
			t.grow(size)
			own := t.makes(kind, size, index)
			if len(own)+len(proof) > 0 && !reflect.DeepEqual(own, append([]tlog.Hash(nil), proof...)) {
				check(fmt.Errorf("%c %d of %d isn't the proof that tlog makes", kind, index, size))
			}
			if t.accepts(kind, size, index, proof) {
				accepted[kind]++
			}
			if !t.accepts(kind, size, index, wrong(proof, tlog.RecordHash(nil))) {
				refused++
			}
		}
	}
	fmt.Printf("%d inclusion and %d consistency proofs accepted, %d refused\n", accepted['i'], accepted['c'], refused)
}
