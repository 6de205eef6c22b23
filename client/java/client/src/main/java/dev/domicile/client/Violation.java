package dev.domicile.client;

/**
 * One thing wrong with a request. It never repeats the field's value.
 *
 * @param field a path, for example {@code record.purposes[0]}
 * @param description what would be right
 */
public record Violation(String field, String description) {}
