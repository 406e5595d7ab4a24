import { createFileRegistry } from "@bufbuild/protobuf";
import { bootFileDescriptorProto, type GenFile } from "@bufbuild/protobuf/codegenv2";
import { protoCamelCase } from "@bufbuild/protobuf/reflect";
import type { DescriptorProto, MessageOptions } from "@bufbuild/protobuf/wkt";

/** Name, fields ("name number type[?*] [type's name]"), nested messages, nested enums. */
type CompactMessage = [string, string[], CompactMessage[], CompactEnum[]];
/** Name, values ("name number"). */
type CompactEnum = [string, string[]];
/** Path, package, messages, enums. */
export type CompactFile = [string, string, CompactMessage[], CompactEnum[]];

type Boot = Parameters<typeof bootFileDescriptorProto>[0];

const LABEL_OPTIONAL = 1;
const LABEL_REPEATED = 3;

/** The descriptor that scripts/compact.mjs wrote into the generated code. */
export function compactFile([name, pkg, messages, enums]: CompactFile): GenFile {
  const enumOf = ([name, values]: CompactEnum) => ({
    name,
    value: values.map((v) => {
      const [name = "", number] = v.split(" ");
      return { name, number: Number(number) };
    }),
  });
  const messageOf = ([name, fields, nested, enums]: CompactMessage): Boot["messageType"][number] => ({
    name,
    field: fields.map((f) => {
      const [name = "", number, type = "", typeName] = f.split(" ");
      return {
        name,
        jsonName: protoCamelCase(name),
        number: Number(number),
        type: Number.parseInt(type, 10),
        label: type.endsWith("*") ? LABEL_REPEATED : LABEL_OPTIONAL,
        ...(type.endsWith("?") ? { proto3Optional: true } : {}),
        ...(typeName === undefined ? {} : { typeName: `.${pkg}.${typeName}` }),
      };
    }),
    nestedType: nested.map(messageOf),
    enumType: enums.map(enumOf),
  });
  const root = bootFileDescriptorProto({
    name,
    package: pkg,
    messageType: messages.map(messageOf),
    enumType: enums.map(enumOf),
  } as Boot);
  root.syntax = "proto3";
  root.messageType.forEach(markMaps);
  const file = createFileRegistry(root, () => undefined).getFile(name);
  if (!file) throw new Error(`footfall: no descriptor of ${name}`);
  return file;
}

/** The entry of a map is a nested message that only the compiler names so. */
function markMaps(m: DescriptorProto): void {
  for (const n of m.nestedType) {
    if (n.name.endsWith("Entry"))
      n.options = { $typeName: "google.protobuf.MessageOptions", mapEntry: true } as MessageOptions;
    markMaps(n);
  }
}
