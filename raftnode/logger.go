package raftnode

import (
	"fmt"

	"go.etcd.io/raft/v3"
)

// NewLogger adapts a printf-like function to Raft's logger. It passes warnings and
// errors on. Debug and Info are dropped: Raft reports some of the ordinary course
// of asynchronous writes there, several times per block; a Node reports changes of
// role, leader and term itself. Panic and Fatal both panic: they mean a broken
// invariant. A nil function drops everything else.
func NewLogger(logf func(format string, args ...any)) raft.Logger { return logger{logf} }

type logger struct{ logf func(string, ...any) }

func (l logger) print(level, msg string) {
	if l.logf != nil {
		l.logf("raft: %s%s", level, msg)
	}
}

func (l logger) Debug(...any)                {}
func (l logger) Debugf(string, ...any)       {}
func (l logger) Info(...any)                 {}
func (l logger) Infof(string, ...any)        {}
func (l logger) Warning(v ...any)            { l.print("warning: ", fmt.Sprint(v...)) }
func (l logger) Warningf(f string, v ...any) { l.print("warning: ", fmt.Sprintf(f, v...)) }
func (l logger) Error(v ...any)              { l.print("error: ", fmt.Sprint(v...)) }
func (l logger) Errorf(f string, v ...any)   { l.print("error: ", fmt.Sprintf(f, v...)) }
func (l logger) Fatal(v ...any)              { panic("raft: " + fmt.Sprint(v...)) }
func (l logger) Fatalf(f string, v ...any)   { panic("raft: " + fmt.Sprintf(f, v...)) }
func (l logger) Panic(v ...any)              { panic("raft: " + fmt.Sprint(v...)) }
func (l logger) Panicf(f string, v ...any)   { panic("raft: " + fmt.Sprintf(f, v...)) }
