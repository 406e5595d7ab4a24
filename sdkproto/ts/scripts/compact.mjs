// Replaces the descriptor in the generated messages, which protoc-gen-es embeds as base64
// of a FileDescriptorProto, by the same as a small literal. It compresses to half, and
// bundles then need neither the base64 nor descriptor.proto itself: 8 KB of 45, gzipped.
// `npm run generate` runs it. The vectors of encoding.json, where every message, field
// and enum value occurs, would tell a wrong one.
//
// Usage: node scripts/compact.mjs FOLDER_OF_GENERATED_CODE
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

const path = join(process.argv[2], "footfall/sdk/v1/sdk_pb.ts");
let source = readFileSync(path, "utf8");
const call = /fileDesc\("([^"]+)"\)/;
const found = call.exec(source);
if (!found) throw new Error(`${path}: no descriptor to replace`);
const file = fromBinary(FileDescriptorProtoSchema, base64Decode(found[1]));
if (file.syntax !== "proto3" || file.dependency.length + file.extension.length + file.service.length > 0) {
  throw new Error("compact.mjs knows plain proto3 files only");
}
const own = `.${file.package}.`;
// What follows from the one before is left out: the number of a field or value that is one
// more than the last, and of values the prefix that repeats their enum's name.
const numbered = (all, of) => {
  let last = of;
  return all.map(({ name, number }) => {
    if (/[\d ,]/.test(name)) throw new Error(`${name}: a digit would be taken for its number`);
    const said = number === last + 1 ? name : `${name}${number}`;
    last = number;
    return said;
  });
};
const pack = (m) => {
  const names = numbered(m.field, 0);
  const fields = m.field.map((f, i) => {
    if (f.oneofIndex !== undefined && !f.proto3Optional && Object.hasOwn(f, "oneofIndex"))
      throw new Error(`${m.name}: a oneof`);
    const how = f.label === 3 ? "*" : f.proto3Optional ? "?" : "";
    if (f.typeName !== "" && !f.typeName.startsWith(own)) throw new Error(`${m.name}.${f.name}: ${f.typeName}`);
    return `${names[i]} ${f.type}${how}${f.typeName === "" ? "" : ` ${f.typeName.slice(own.length)}`}`;
  });
  const packed = [[m.name, ...fields].join(","), m.nestedType.map(pack), m.enumType.map(packEnum)];
  while (packed.at(-1).length === 0) packed.pop();
  return packed;
};
const packEnum = (e) => {
  const prefix = `${e.name.replace(/([a-z])([A-Z])/g, "$1_$2").toUpperCase()}_`;
  const values = e.value.map((v) => {
    if (!v.name.startsWith(prefix)) throw new Error(`${v.name}: does not begin with ${prefix}`);
    return { name: v.name.slice(prefix.length), number: v.number };
  });
  return [e.name, ...numbered(values, -1)].join(" ");
};
const small = JSON.stringify([file.name, file.package, file.messageType.map(pack), file.enumType.map(packEnum)]);
source = source
  .replace(call, () => `compactFile(${small})`)
  .replace("import { enumDesc, fileDesc, messageDesc }", "import { enumDesc, messageDesc }")
  .replace(/(import type \{ Message as [^\n]*\n)/, '$1import { compactFile } from "../../../../descriptor.js";\n');
writeFileSync(path, source);
