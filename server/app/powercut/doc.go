// Package powercut cuts the power of a process that has already run: it follows the
// system calls that the process made (strace tells them with all their bytes) and
// makes of them the folder that a power cut after any of them could have left. Tests
// then recover from that folder. nats-server writes through Go's os package and
// SQLite through the C library: the calls to the kernel are what both have in common.
//
// # The model of the disk
//
// Mode Journal is the file systems that Footfall is meant for (ext4, XFS, btrfs),
// made more cruel where they differ:
//
//   - Data. What was written to a file before an fsync or fdatasync of it began is
//     there when that has returned; a write through O_SYNC when it has returned. Of
//     what was written since, every sector of 512 bytes has, independently of the
//     others, any of the states that it passed through: so writes are lost, torn and
//     reordered within a file and among files. A disk writes a sector whole or not
//     at all, and bytes of it that a write leaves alone stay (SQLite calls that
//     powersafe overwrite, https://www.sqlite.org/psow.html).
//   - Sizes. A file may have the size of a write without its data; zeros are there
//     then. ext4 with data=ordered would not show that, XFS and others do.
//   - Names. Creations, renames, removals, truncations survive as a beginning of
//     their order in the whole folder: that is a journal. An fsync of a file forces
//     the order up to the last change of the file's own name or size, thus also the
//     folders made for it; that of a folder up to the last change in it. ext4
//     commits its whole journal at any fsync and so keeps more; XFS forces its log
//     up to the inode's last change. That an fsync of a new file keeps its name is
//     what these file systems do and POSIX does not demand (fsync(2), "Notes";
//     Pillai et al., All File Systems Are Not Created Equal, OSDI 2014, table 1).
//   - What a process writes through a shared mapping is not seen; SQLite does that
//     to its -shm files alone. Those come back with random bytes.
//
// In mode Strict a name is kept only by an fsync of its folder, and each folder has
// an order of its own.
//
// Processes may follow each other in the folder, each with a trace of its own, and
// die by kill -9. A call in which one died may have been done, in part or not at
// all: the folder that it left tells which. What it wrote and had not synced stays
// uncertain for the next one, until that syncs it.
//
// Calls that the model does not know are refused when they touch the folder, and
// Run.Verify compares the model's folder at the end of the run, with nothing lost,
// with the real one: a write that was not seen shows there.
//
// # What was found
//
// nats-server 2.15.2 with sync always, behind server/eventlog, and SQLite with
// synchronous=FULL keep all that they answered in mode Journal. What had to be mended:
//
//   - A trim that removes a whole block of the log and marks messages of the next
//     one deleted: the mark is synced, the removal is not. The block came back with a
//     hole behind it, at which readers of the old part failed for ever. The log now
//     finishes such a trim when it is opened.
//   - After kill -9 the log and SQLite served what had been written and not synced;
//     the next process built on it, and a cut took it from under that. Both are now
//     synced before they are read (package durable). Without that, a tenth to a half
//     of the cuts around such a start took something that had been read.
//   - The file with the key of the secrets, made at the first start, was not synced
//     though the secrets sealed with it were.
//
// Mode Strict is not promised: nats-server syncs neither the folder of a new block
// nor the folders that it makes for a stream; 261 of 300 cuts lost something of the
// log, none of the stores (FOOTFALL_TEST_POWERCUT_MODE=strict go test -run Thousand).
// A data folder belongs on a file system with a journal, mounted with barriers, on
// a disk that does not lie about its cache.
//
// Without syncs the same test loses: of 100 cuts 80 to 95 of the log, 70 to 92 of the
// stores, each where its own durability is "process" and nowhere else.
package powercut
