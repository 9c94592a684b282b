package host

import (
	"time"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// The uplink guard's program. Registers that live through it: R6 is the packet
// (struct __sk_buff), R7 the packet's set of ports, R8 where the header to be
// read begins, R9 the fragment word.
//
//	frame ── tagged ─────────────────────────────────────────────► pass
//	  ├─ ARP request ── target is the switch's ──────────────────► drop
//	  └─ IPv4 ── destination is the switch's ────────────────────► drop
//	       └─ is NAT's ─┬─ later fragment ── first was dropped ──► drop
//	                    ├─ TCP, UDP ── port is in the set ───────► drop, note
//	                    └─ ICMP error ── port that it is about ──► the first fragment
//
// All else passes, also what is too short to be read: to the next filter, and in
// the end to the host.
const (
	tcActUnspec = -1 // TC_ACT_UNSPEC, linux/pkt_cls.h

	// struct __sk_buff, linux/bpf.h
	skbProtocol    = 16
	skbVLANPresent = 20
	skbVLANTCI     = 24

	ethernetLen    = 14
	ipLen          = 20
	arpLen         = 28
	icmpLen        = 8
	ownerKeyLen    = 4 + 4
	fragmentKeyLen = 4 + 4 + 2 + 1 + 1 // both addresses, identification, protocol, 0

	moreFragments  = 0x2000
	fragmentOffset = 0x1fff
	fragmentTime   = 5 * time.Second // as package nat

	icmpUnreachable  = 3
	icmpSourceQuench = 4
	icmpTimeExceeded = 11
	icmpParameter    = 12
)

// The stack, from R10 down.
const (
	stackIP       = -24 // the IP header
	stackOwner    = -32
	stackFragment = -48
	stackStamp    = -56
	stackIndex    = -60
	stackShort    = -64
	stackInner    = -88 // the IP header within an ICMP error
	stackARP      = -120
)

func uplinkInstructions(m *guardMaps) asm.Instructions {
	var p asm.Instructions
	add := func(parts ...asm.Instructions) {
		for _, x := range parts {
			p = append(p, x...)
		}
	}

	add(asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.Mov.Imm(asm.R8, ethernetLen),
		asm.LoadMem(asm.R1, asm.R6, skbVLANPresent, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "untagged"),
		asm.LoadMem(asm.R1, asm.R6, skbVLANTCI, asm.Word),
		asm.JSet.Imm(asm.R1, 0x0fff, "pass"),
		asm.LoadMem(asm.R1, asm.R6, skbProtocol, asm.Word).WithSymbol("untagged"),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.JEq.Imm(asm.R1, unix.ETH_P_ARP, "arp"),
		asm.JNE.Imm(asm.R1, unix.ETH_P_IP, "pass"),
	})

	// IPv4. R7 becomes the set of ports.
	add(read(0, stackIP, ipLen), lookUpOwner(m, stackIP+16), asm.Instructions{
		asm.JEq.Imm(asm.R7, int32(ownerSwitch), "drop"),
		asm.JEq.Imm(asm.R7, int32(ownerHost), "pass"),
		asm.Sub.Imm(asm.R7, int32(ownerNAT)),
		asm.StoreMem(asm.RFP, stackIndex, asm.R7, asm.Word),
		asm.LoadMapPtr(asm.R1, m.ports.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackIndex),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.LoadMem(asm.R9, asm.RFP, stackIP+6, asm.Half),
		asm.HostTo(asm.BE, asm.R9, asm.Half),
		asm.JSet.Imm(asm.R9, fragmentOffset, "later"),
	}, skipIPHeader(stackIP), asm.Instructions{
		asm.LoadMem(asm.R1, asm.RFP, stackIP+9, asm.Byte),
		asm.JEq.Imm(asm.R1, protoICMP, "icmp"),
	}, read(2, stackShort, 2), asm.Instructions{ // the destination port
		asm.LoadMem(asm.R1, asm.RFP, stackIP+9, asm.Byte),
	})

	// R1 is the protocol, the port is on the stack.
	add(asm.Instructions{
		asm.LoadMem(asm.R2, asm.RFP, stackShort, asm.Half).WithSymbol("port"),
		asm.HostTo(asm.BE, asm.R2, asm.Half),
		asm.JEq.Imm(asm.R1, protoTCP, "bit"),
		asm.JNE.Imm(asm.R1, protoUDP, "pass"),
		asm.Or.Imm(asm.R2, portSetUDP*8),
		asm.Mov.Reg(asm.R3, asm.R2).WithSymbol("bit"),
		asm.RSh.Imm(asm.R3, 3),
		asm.And.Imm(asm.R3, portSetLen-1),
		asm.Add.Reg(asm.R7, asm.R3),
		asm.LoadMem(asm.R3, asm.R7, 0, asm.Byte),
		asm.And.Imm(asm.R2, 7),
		asm.RSh.Reg(asm.R3, asm.R2),
		asm.JSet.Imm(asm.R3, 1, "take"),
		asm.Ja.Label("pass"),
		asm.JSet.Imm(asm.R9, moreFragments, "note").WithSymbol("take"),
		asm.Ja.Label("drop"),
	})

	add(at("icmp", read(0, stackShort, 1)), asm.Instructions{
		asm.LoadMem(asm.R1, asm.RFP, stackShort, asm.Byte),
		asm.JEq.Imm(asm.R1, icmpUnreachable, "error"),
		asm.JEq.Imm(asm.R1, icmpSourceQuench, "error"),
		asm.JEq.Imm(asm.R1, icmpTimeExceeded, "error"),
		asm.JNE.Imm(asm.R1, icmpParameter, "pass"),
	}, at("error", read(icmpLen, stackInner, ipLen)), asm.Instructions{
		asm.LoadMem(asm.R1, asm.RFP, stackInner+12, asm.Word),
		asm.LoadMem(asm.R2, asm.RFP, stackIP+16, asm.Word),
		asm.JNE.Reg(asm.R1, asm.R2, "pass"), // about a packet of another address
		asm.LoadMem(asm.R1, asm.RFP, stackInner+6, asm.Half),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.JSet.Imm(asm.R1, fragmentOffset, "pass"),
		asm.Add.Imm(asm.R8, icmpLen),
	}, skipIPHeader(stackInner), read(0, stackShort, 2), asm.Instructions{ // the source port
		asm.LoadMem(asm.R1, asm.RFP, stackInner+9, asm.Byte),
		asm.Ja.Label("port"),
	})

	add(at("note", fragmentKey()), asm.Instructions{
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, stackStamp, asm.R0, asm.DWord),
		asm.LoadMapPtr(asm.R1, m.fragments.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackFragment),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stackStamp),
		asm.Mov.Imm(asm.R4, unix.BPF_ANY),
		asm.FnMapUpdateElem.Call(),
		asm.Ja.Label("drop"),
	}, at("later", fragmentKey()), asm.Instructions{
		asm.LoadMapPtr(asm.R1, m.fragments.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackFragment),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.LoadMem(asm.R7, asm.R0, 0, asm.DWord),
		asm.FnKtimeGetNs.Call(),
		asm.Sub.Reg(asm.R0, asm.R7),
		asm.LoadImm(asm.R1, int64(fragmentTime), asm.DWord),
		asm.JGT.Reg(asm.R0, asm.R1, "pass"),
		asm.Ja.Label("drop"),
	})

	add(at("arp", read(0, stackARP, arpLen)), asm.Instructions{
		asm.LoadMem(asm.R1, asm.RFP, stackARP+2, asm.Half), // protocol type
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.JNE.Imm(asm.R1, unix.ETH_P_IP, "pass"),
		asm.LoadMem(asm.R1, asm.RFP, stackARP+4, asm.Word),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.JNE.Imm(asm.R1, 0x06_04_0001, "pass"), // lengths of addresses, request
	}, lookUpOwner(m, stackARP+24), asm.Instructions{
		asm.JNE.Imm(asm.R7, int32(ownerSwitch), "pass"),
	})

	add(asm.Instructions{
		asm.Mov.Imm(asm.R0, tcActShot).WithSymbol("drop"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, tcActUnspec).WithSymbol("pass"),
		asm.Return(),
	})
	return p
}

// at names the first of some instructions.
func at(symbol string, p asm.Instructions) asm.Instructions {
	p[0] = p[0].WithSymbol(symbol)
	return p
}

// read copies n bytes of the packet, from R8+from on, to the stack.
func read(from int32, to int32, n int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R2, asm.R8),
		asm.Add.Imm(asm.R2, from),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, to),
		asm.Mov.Imm(asm.R4, n),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "pass"),
	}
}

// lookUpOwner makes R7 the owner of an address on the stack.
func lookUpOwner(m *guardMaps, addr int16) asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.RFP, stackOwner, 32, asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, addr, asm.Word),
		asm.StoreMem(asm.RFP, stackOwner+4, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, m.owners.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackOwner),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.LoadMem(asm.R7, asm.R0, 0, asm.Word),
	}
}

// skipIPHeader moves R8 behind the IP header that begins there, a copy of which is
// on the stack.
func skipIPHeader(header int16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.RFP, header, asm.Byte),
		asm.And.Imm(asm.R1, 0x0f),
		asm.LSh.Imm(asm.R1, 2),
		asm.Add.Reg(asm.R8, asm.R1),
	}
}

// fragmentKey puts on the stack what the fragments of a packet have in common.
func fragmentKey() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.RFP, stackIP+12, asm.Word),
		asm.StoreMem(asm.RFP, stackFragment, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, stackIP+16, asm.Word),
		asm.StoreMem(asm.RFP, stackFragment+4, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, stackIP+4, asm.Half),
		asm.StoreMem(asm.RFP, stackFragment+8, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, asm.RFP, stackIP+9, asm.Byte),
		asm.StoreMem(asm.RFP, stackFragment+10, asm.R1, asm.Byte),
		asm.StoreImm(asm.RFP, stackFragment+11, 0, asm.Byte),
	}
}
