// Package uploads takes files of people, events and purchases from other systems, and of
// items of catalogues: it receives them in parts that can be resumed, reads them in the
// background, and appends each row to the log as an engage.Touch that triggers nothing, or
// puts it into its catalogue.
//
// # The way of a file
//
// Create makes an upload: what its rows are, and what its columns hold. Write adds bytes
// at the offset that the server has; whoever was cut off asks for that (Upload.Received)
// and goes on. With the last part the upload waits for its turn, is processed, and ends
// as done, failed (the file cannot be read further: what was before is taken) or
// cancelled.
//
// # Where it is kept
//
// Each upload is a folder of the data folder, for its owner only: upload.json, which is
// the Upload, the bytes as they came, and the report of the refused rows. The bytes are
// deleted as soon as they have been processed or the upload has been cancelled or
// abandoned. They are no more encrypted than the store beside them, into which they go;
// who needs that encrypts the disk. A report names row, field and reason, never what
// stood there. Upload.json and report are kept for Options.Keep.
//
// # Once in effect
//
// A touch has an id: the message id that its row gives, else a hash of what the row says.
// A row that comes again, because of a restart or with the same file, has the same id,
// and the owner of the person heeds an id once. What a person is said to be without a
// time of its own (updated_at) is as old as the upload. The place up to which the rows
// are in the log is saved every second: a restart goes on there.
//
// A person remembers the newest 512 touches. So a whole file that comes again and would be
// read in the same way is not read at all while the upload that took it is kept
// (Upload.Same): nobody counts an old file twice, and who was erased does not come back by
// it.
//
// An upload counts as sent in when it was made, or when the same bytes were first sent in by
// an upload that is kept: of whom was erased since, its rows are refused, whenever they are
// read and however they are mapped. Another file makes a new person.
//
// # Beside live traffic
//
// Rows go into the log in small portions, one after the other; while one is on its way, the
// next is read. A partition has at most two that it has not applied (Log): that is what a
// live record may have to wait for. Workspaces take turns. Options.RowsPerS holds all of
// them back further.
//
// # Speed
//
// footfall-lab bench people, on two cores shared with the load, rows until they are in the
// profiles: of 100,000 people with 20 attributes and two ids 2,754 a second, then of events
// 5,975 a second, with at most 823 MB resident; with 40,000 people, all of whom the server
// had in memory, 2,783 to 3,700 and 8,382 to 10,799 in three runs. An event of a person who
// is not in memory costs reading and writing the whole person: by the tracking API 10,107
// and 13,280 events a second reached 40,000 profiles, 7,289 reached 100,000, and 6,438
// reached 200,000. A profile by any of its ids took 1.5 to 3.6 ms (p99).
//
// # Columns
//
// A mapping names what a column (of a table by its header, of a line of JSON by its key)
// holds; columns that it does not name are not looked at. Without a mapping all are
// guessed by their names, and the types of attributes by the first rows: Preview tells
// what would be. Targets of every kind of file:
//
//	user_id, email, loyalty, anonymous_id   identifiers; one is needed, at most 20 in a row
//	identifiers                             a list of "<kind>:<value>"
//	-                                       not looked at
//
// of people:
//
//	attributes.<name>[:<type>]     its name has a-z, A-Z, 0-9, '_' and '-'; a column that is
//	                               not mapped becomes one of its own name, with _ for the
//	                               rest ("Shoe size": Shoe_size). string, number, bool, time or strings; without a type the
//	                               declared one, else text, or as JSON has it
//	preferences.<topic>            like, dislike, none
//	likes, dislikes                lists of topics
//	consents.<purpose>             yes or no; counts only with the next three
//	consents.<purpose>.text_version, .at, .source   or, of all purposes of the row:
//	consent_text_version, consent_at, consent_source
//	updated_at                     when all this was so; absent: when the upload was made
//
// of events and purchases:
//
//	occurred_at                    required
//	message_id                     absent: a hash of the row
//	properties.<name>[:<type>]
//
// of events: event (its name, required), event_type (track, page, screen; absent: track).
//
// Of purchases: order_id and value (required), status (completed, updated, refunded,
// cancelled; absent: completed), currency, place, coupon, products (a JSON list of objects
// with id, name, category, brand, price, quantity), or, of tables that have a row for each
// line of an order, as tills write them:
//
//	line.id, line.name, line.category, line.brand   what was bought
//	line.price                                      of one
//	line.quantity                                   absent: 1
//	line.value                                      of the line; below 0: a discount
//
// of items, which go into a catalogue and not into the log (items.go):
//
//	id                             required
//	deleted                        yes: the item is deleted
//	fields.<name>[:<type>]         as the catalogue has it, else learned; a column that is not mapped is the
//	                               declared field of its name, whatever the case, spaces and signs, or else a new one
//
// An empty cell says nothing; a null of JSON forgets an attribute. Times are RFC 3339, a
// date, or Unix seconds or milliseconds; lists are JSON, or separated by semicolon, bar or
// comma.
//
// # Orders with several rows
//
// Where a mapping has a target line.*, rows that follow each other with the same order id
// and status are one order with so many products, at most 500. Without a mapping a table of
// purchases is read so when a column is called as tills call an article or a line's amount
// (sku, product_id, article_no, ean, line_total and the like). The order's value is what a
// row says in value, the same in all that do, else the sum of line.value or of line.price
// times line.quantity. Who, when, currency, place and coupon need to stand in one of the
// rows only; the earliest time counts. An order of which a row is refused, or contradicts
// those before it (another person, currency, place or value, a time more than a day away),
// is refused as a whole: the report has the row that is wrong with its reason, and the
// others with its number. Rows of an order that has ended before in the file are refused,
// too: sort the file by the order's id. A refund is told of by rows of its own, with the
// status refunded.
//
// The order is made before it comes into a portion, and a restart goes on behind a whole
// one; its id is a hash of what its rows say together, unless all have the same message_id.
// In which row each order began stands in a file beside, so that the memory stays that of a
// few orders.
package uploads
