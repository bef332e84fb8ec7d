package main

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/pflag"
)

const (
	// maxIndex is the largest index or size of a ledger.
	maxIndex uint64 = math.MaxInt64
	// maxWait bounds durations for which a command waits or works.
	maxWait = 366 * 24 * time.Hour
	// maxValidity bounds the validity of a certificate.
	maxValidity = 100 * 365 * 24 * time.Hour
)

// number is what a command line can count in.
type number interface {
	int | int64 | uint64 | time.Duration
}

// parseNumber reads a number from the command line and holds it to its range. Every number that
// a user gives, as a flag or as an argument, passes through parseNumber.
func parseNumber[T number](text string, least, most T) (T, error) {
	refused := errors.Newf("must be %v to %v", least, most)
	var v T
	var err error
	switch p := any(&v).(type) {
	case *time.Duration:
		if *p, err = time.ParseDuration(text); err != nil {
			return 0, errors.Newf("must be a duration such as 500ms, 10s or 24h, %v to %v", least, most)
		}
	case *uint64:
		*p, err = strconv.ParseUint(text, 10, 64)
	case *int64:
		*p, err = strconv.ParseInt(text, 10, 64)
	case *int:
		*p, err = strconv.Atoi(text)
	}
	if err != nil || v < least || v > most {
		return 0, refused
	}
	return v, nil
}

// ranged is the value of a flag that holds a number.
type ranged[T number] struct {
	value       *T
	least, most T
}

// Set implements pflag.Value.
func (r *ranged[T]) Set(text string) error {
	v, err := parseNumber(text, r.least, r.most)
	if err == nil {
		*r.value = v
	}
	return err
}

// String implements pflag.Value.
func (r *ranged[T]) String() string { return fmt.Sprint(*r.value) }

// Type implements pflag.Value: the name that help shows where the usage text gives none.
func (r *ranged[T]) Type() string {
	if _, ok := any(r.value).(*time.Duration); ok {
		return "duration"
	}
	return "number"
}

// numberFlag defines a flag that holds a number from least to most. Every flag with a number is
// defined with numberFlag; short may be empty.
func numberFlag[T number](f *pflag.FlagSet, p *T, name, short string, preset, least, most T, usage string) {
	*p = preset
	f.VarP(&ranged[T]{p, least, most}, name, short, usage)
}
