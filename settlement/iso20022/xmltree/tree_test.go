package xmltree

import (
	"strconv"
	"strings"
	"testing"
)

const sample = `<Document xmlns="u">

  <Msg>
    <Tx><Id> 1 </Id></Tx>
    <Tx xmlns:v="v"><v:Id>other</v:Id><Id>2</Id><Amt Ccy="EUR">3.00</Amt></Tx>
  </Msg>
</Document>`

func TestElement(t *testing.T) {
	root, err := Parse([]byte(sample), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	tx := root.Child("Msg").All("Tx")
	if len(tx) != 2 {
		t.Fatalf("got %d transactions, want 2", len(tx))
	}
	if got := root.At("Msg", "Tx", "Id").String(); got != "1" {
		t.Errorf("the first Id is %q, want 1", got)
	}
	id := tx[1].Child("Id")
	if got := id.String(); got != "2" {
		t.Errorf("the second Id is %q, want 2: the one of the other namespace does not count", got)
	}
	if got, want := id.Path(), "/Document/Msg/Tx[2]/Id"; got != want {
		t.Errorf("its path is %s, want %s", got, want)
	}
	if id.Line != 5 || id.Column != 39 || !strings.HasPrefix(sample[id.Offset:], "<Id>2") {
		t.Errorf("it is in line %d, column %d, offset %d", id.Line, id.Column, id.Offset)
	}
	if ccy, found := tx[1].Child("Amt").Attr("Ccy"); ccy != "EUR" || !found {
		t.Errorf("the currency is %q, %v", ccy, found)
	}
	if _, found := tx[1].Child("Amt").Attr("ccy"); found {
		t.Error("names of attributes are case-sensitive")
	}
	if got, want := root.Path(), "/Document"; got != want {
		t.Errorf("the root's path is %s, want %s", got, want)
	}
}

func TestNilElement(t *testing.T) {
	var e *Element
	if e.Child("a") != nil || e.All("a") != nil || e.At("a", "b") != nil || e.String() != "" || e.Path() != "" {
		t.Error("a nil element has something inside")
	}
	if _, found := e.Attr("a"); found {
		t.Error("a nil element has an attribute")
	}
}

// TestPathOfMany: ordinals do not depend on the number of siblings, nor on who made the tree.
func TestPathOfMany(t *testing.T) {
	for _, n := range []int{1, 3, 20} {
		root, err := Parse([]byte("<a xmlns:v='v'>"+strings.Repeat("<b/><c/><v:b/>", n)+"<d/></a>"), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		made := New("", "a")
		for _, c := range root.Children {
			m := made.Add(c.Name)
			m.Space = c.Space
		}
		for i, c := range root.Children {
			want := "/a/" + c.Name
			if n > 1 && c.Name != "d" {
				want += "[" + strconv.Itoa(i/3+1) + "]"
			}
			if got := c.Path(); got != want {
				t.Errorf("of %d the path is %s, want %s", n, got, want)
			}
			if got := made.Children[i].Path(); got != want {
				t.Errorf("of %d in a made tree the path is %s, want %s", n, got, want)
			}
		}
	}
}
