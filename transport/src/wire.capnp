# Layer transport: everything that passel's processes say to each other.
#
# Rules of change: fields and union members are only ever added, at the end; a number is never used again. A reader that
# meets a union member it does not know reports it and goes on. `protocolVersion` goes up when an old reader would
# misunderstand a new writer; the recorded frames in tests/transport/golden must decode for ever.

@0xc426f41d4fda0ac1;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("passel::wire");

const protocolVersion :UInt32 = 1;

# ---- Values -----------------------------------------------------------------------------------------------------------

struct Value {
  # One self-describing value (passel/value.hpp). Integers take the smallest of int64, uint64 and big that holds them.
  union {
    none @0 :Void;
    boolean @1 :Bool;
    int64 @2 :Int64;
    uint64 @3 :UInt64;
    big @4 :BigInt;
    float64 @5 :Float64;
    text @6 :Text;            # UTF-8, may hold NUL
    bytes @7 :Data;
    list @8 :List(Value);
    tuple @9 :List(Value);    # also: the members of a C++ aggregate in order of declaration
    set @10 :List(Value);
    map @11 :List(Entry);
    numbers @12 :NumberArray;
    handle @13 :Handle;
    foreign @14 :Foreign;
  }
}

struct Entry {
  key @0 :Value;
  value @1 :Value;
}

struct BigInt {
  negative @0 :Bool;
  magnitude @1 :Data;         # least significant byte first, no zero byte at the end
}

struct NumberArray {
  type @0 :UInt8;             # 1 i8, 2 u8, 3 i16, 4 u16, 5 i32, 6 u32, 7 i64, 8 u64, 9 f32, 10 f64
  data @1 :Data;              # little-endian, contiguous
}

struct Handle {
  # A hosted or shared object. Its descriptor, if any, travels beside the message.
  kind @0 :Text;
  type @1 :Text;
  id @2 :UInt64;
  descriptor @3 :UInt32 = 0xffffffff;   # index among the message's descriptors; the default: none
}

struct Foreign {
  # An object nobody here understands, kept as it came.
  format @0 :Text;
  type @1 :Text;
  data @2 :Data;
}

# ---- Errors -----------------------------------------------------------------------------------------------------------

struct Error {
  code @0 :UInt16;            # passel::Errc; an unknown number reads as `system`, the text says which
  what @1 :Text;
  union {
    plain @2 :Void;
    workerLost @3 :WorkerLost;
    remoteError @4 :RemoteError;
  }
}

struct WorkerLost {
  pid @0 :Int32;
  exitCode @1 :Int32;
  signal @2 :Int32;
  task @3 :Text;
  attempt @4 :UInt32;
  cause @5 :UInt32;
  peakRss @6 :UInt64;
  lastLines @7 :List(Text);
}

struct RemoteError {
  typeName @0 :Text;
  what @1 :Text;
  causes @2 :List(Cause);

  struct Cause {
    typeName @0 :Text;
    what @1 :Text;
  }
}

# ---- Sessions ---------------------------------------------------------------------------------------------------------
#
# A frame on a stream: u32 length of the message, u32 number of descriptors that travel with it (both little-endian),
# then one flat Cap'n Proto message with a Frame as root, and behind it large arguments or a large value as they are, with
# zeros up to a multiple of 8. Ids are chosen by the caller, grow, and are never used twice in one session.

struct Frame {
  union {
    hello @0 :Hello;          # the first frame of each side, once
    call @1 :Call;
    result @2 :CallResult;
    cancel @3 :UInt64;        # as giveUp, without the target; read, and not written any more
    release @4 :Release;
    grant @5 :Grant;
    notify @6 :Notify;
    credit @7 :Credit;
    ping @8 :UInt64;          # answered by a pong with the same number
    pong @9 :UInt64;
    goodbye @10 :Text;        # the last frame of a side, with its reason
    giveUp @11 :GiveUp;       # a call that its caller no longer waits for; a result may still come
  }
}

struct Hello {
  protocol @0 :UInt32;
  build @1 :Data;             # build id of the program; empty: any
  name @2 :Text;              # of the process, for people
  role @3 :Text;              # "parent", "worker", "client", ...
  pid @4 :Int32;
  epoch @5 :UInt64;           # a new one for each connection of the same peer
  silence @6 :UInt32;         # milliseconds after which this side takes a silent peer for lost; 0: it asks the kernel
}

struct Call {
  id @0 :UInt64;
  target @1 :UInt64;          # object, 0: the peer itself
  method :union {
    name @2 :Text;
    task @3 :TaskId;          # accepted only from one's own family of processes with the same build
  }
  args @4 :Data;              # passel's encoded argument list
  deadlineUs @5 :Int64 = -1;  # microseconds left when sent; negative: none
  trace @6 :UInt64;
  behind @8 :UInt32;          # so many bytes of arguments lie behind this message, in place of args
  cpu @7 :UInt16;             # that the sender runs on, from 1, told to a peer on the same host; 0: not told
}

struct TaskId {
  module @0 :UInt32;
  offset @1 :UInt64;
}

struct CallResult {
  id @0 :UInt64;
  union {
    value @1 :Data;           # passel's encoded value
    error @2 :Error;
    behind @4 :UInt32;        # the value lies behind this message, so many bytes
  }
  cpu @3 :UInt16;             # as in Call
}

struct GiveUp {
  call @0 :UInt64;            # its id
  target @1 :UInt64;          # of that call: where an answer that is on its way already goes back to
}

struct Release {
  target @0 :UInt64;
  token @1 :UInt64;           # of the grant that goes back
}

struct Grant {
  target @0 :UInt64;
  token @1 :UInt64;           # fencing token, grows with every grant of the target
  abandoned @2 :Bool;         # the previous holder died while holding
}

struct Notify {
  target @0 :UInt64;
  topic @1 :Text;
  value @2 :Data;
}

struct Credit {
  target @0 :UInt64;
  amount @1 :UInt64;          # so many more items may be sent
}
